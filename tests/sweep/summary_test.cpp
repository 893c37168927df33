#include "sweep/summary.h"

#include "catch.h"
#include "made_sweep.h"

using namespace sinkscope;

namespace {

/// Checkpoints 0, 1, ... with these values of sink_rate.
SweepIndex index_with(const std::vector<std::optional<double>>& values) {
  SweepIndex index;
  index.units = {{"sink_rate", "fraction"}};
  for (std::size_t i = 0; i < values.size(); ++i) {
    SweepRow row;
    row.name = "step" + std::to_string(100 * i);
    row.step = static_cast<std::int64_t>(100 * i);
    row.report = row.name + ".json";
    row.status = "done";
    index.headlines[row.name] = {{"sink_rate", values[i]}};
    index.rows.push_back(row);
  }
  return index;
}

}  // namespace

TEST_CASE("a sparkline has one bar a value between the lowest and the highest", "[sweep]") {
  CHECK(sparkline({0.0, 0.5, 1.0}, 0, 1, 10) == "▁▅█");
  CHECK(sparkline({0.0, std::nullopt, 1.0}, 0, 1, 10) == "▁·█");
  CHECK(sparkline({3.0, 3.0}, 3, 3, 10) == "▁▁");
  CHECK(sparkline({2.0, -1.0}, 0, 1, 10) == "█▁");
}

TEST_CASE("more values than columns are averaged", "[sweep]") {
  CHECK(sparkline({0.0, 0.0, 1.0, 1.0}, 0, 1, 2) == "▁█");
  CHECK(sparkline({0.0, 1.0, 0.0, 1.0}, 0, 1, 2) == "▅▅");
}

TEST_CASE("the first step from which a metric stays above a value", "[sweep]") {
  const SweepIndex index = index_with({0.0, 0.6, 0.4, 0.6, 0.7});
  CHECK(stays_above(index, "sink_rate", 0.5)->step == 300);
  CHECK(stays_above(index, "sink_rate", 0.3)->step == 100);
  CHECK(stays_above(index, "sink_rate", 0.65)->step == 400);
  CHECK(stays_above(index, "sink_rate", 0.7) == nullptr);  // above, not at
  CHECK(stays_above(index_with({0.6, std::nullopt, 0.7}), "sink_rate", 0.5)->step == 200);
  CHECK(stays_above(index, "loss", 0.5) == nullptr);
  CHECK(stays_above(SweepIndex{}, "sink_rate", 0.5) == nullptr);
}

TEST_CASE("the summary counts, draws and says what is amiss", "[sweep]") {
  SweepIndex index = index_with({0.0, 0.6, 0.7});
  SweepRow failed;
  failed.name = "step300";
  failed.step = 300;
  failed.status = "failed";
  failed.message = "step300.safetensors: truncated";
  index.rows.push_back(failed);
  SweepRow missing = failed;
  missing.name = "step400";
  missing.status = "missing";
  missing.message = "no checkpoint of step 400";
  index.rows.push_back(missing);
  SummaryOptions options;
  options.stays_above = {{"sink_rate", 0.5}, {"sink_rate", 0.9}, {"loss", 1}};
  CHECK(render_summary(index, options) ==
        "4 checkpoints: 3 done, 1 failed, 1 missing; steps 0 to 200\n"
        "\n"
        "metric          first  last  lowest  highest\n"
        "sink_rate  ▁▅▆      0    .7       0       .7\n"
        "\n"
        "sink_rate stays above .5 from step 100 on\n"
        "sink_rate does not stay above .9\n"
        "loss was not measured\n"
        "\n"
        "failed step300: step300.safetensors: truncated\n"
        "missing step400: no checkpoint of step 400\n");
}

TEST_CASE("the table has the checkpoint and step of every report, duplicates included", "[sweep]") {
  const TemporaryFolder folder;
  MadeSweep sweep(folder / "out");
  const SweepResult result =
      sweep.run({write_weights(folder, "step0.safetensors", 1), write_weights(folder, "step7.safetensors", 1)});
  write_csv(result.index, SweepDirectory(folder / "out"), folder / "sweep.csv");
  const std::string text = content_of(folder / "sweep.csv");
  CHECK(text.starts_with("checkpoint,step,training_tokens,metric,"));
  CHECK(contains(text, "\nstep0,0,,sink_rate,"));
  CHECK(contains(text, "\nstep7,7,,sink_rate,"));
  CHECK(text.find("checkpoint,step", 1) == std::string::npos);
}
