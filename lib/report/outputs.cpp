#include "report/outputs.h"

#include <cstdio>
#include <functional>

#include "base/keep_going.h"
#include "report/benchmark_json.h"
#include "report/render.h"
#include "report/report.h"

namespace sinkscope {

Outputs::Outputs(const MeasureConfig& config) {
  const auto open = [](std::optional<AtomicFile>& file, const std::optional<std::string>& path) {
    if (path) file.emplace(AtomicFile::open(*path));
  };
  open(report_, config.output);
  open(stdout_, config.json ? std::optional<std::string>("-") : std::nullopt);
  open(csv_, config.csv);
  open(markdown_, config.markdown);
  open(benchmark_json_, config.benchmark_json);
  open(arrays_, config.arrays);
  quiet_ = config.quiet;
}

void Outputs::write_files(const nlohmann::ordered_json& report) { write(report, /*to_stdout=*/false); }

void Outputs::print(const nlohmann::ordered_json& report) { write(report, /*to_stdout=*/true); }

void Outputs::write(const nlohmann::ordered_json& report, bool to_stdout) {
  KeepGoing outputs;
  const auto write = [&](std::optional<AtomicFile>& file, const std::function<std::string()>& text) {
    if (!file || file->is_stdout() != to_stdout) return;
    outputs.run([&] { file->commit(text()); });
  };
  write(report_, [&] { return dump(report); });
  write(csv_, [&] { return render_csv({{.path = "", .name = "", .json = report}}); });
  write(markdown_, [&] { return render_markdown(report); });
  write(benchmark_json_, [&] {
    Benchmarks benchmarks;
    add_benchmarks(benchmarks, report);
    if (const std::string left_out = left_out_words(benchmarks); !quiet_ && !left_out.empty())
      std::fprintf(stderr, "sinkscope: warning: %s\n", left_out.c_str());
    return dump(benchmarks.entries);
  });
  write(stdout_, [&] { return dump(report); });
  outputs.rethrow();
}

}  // namespace sinkscope
