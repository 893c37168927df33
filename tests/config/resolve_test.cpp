#include "config/resolve.h"

#include "catch.h"
#include "given.h"

using namespace sinkscope;
using given::Folder;
using given::measure;
using given::refusal;
using given::Variable;

TEST_CASE("a flag wins over the environment, that over the file, that over the preset, that over the default",
          "[config]") {
  const Folder folder;
  const std::string file = folder.file("c.toml", "length = 30\n");
  CHECK(measure({"m.pt"}).input.length == std::nullopt);
  CHECK(measure({"m.pt", "--preset", "gu2024"}).input.length == 64);
  CHECK(measure({"m.pt", "--preset", "gu2024", "--config", file}).input.length == 30);
  const Variable variable("SINKSCOPE_LENGTH", "20");
  CHECK(measure({"m.pt", "--preset", "gu2024", "--config", file}).input.length == 20);
  CHECK(measure({"m.pt", "--preset", "gu2024", "--config", file, "--length", "10"}).input.length == 10);
}

TEST_CASE("parameters of metrics follow the same order", "[config]") {
  const auto epsilon = [](std::initializer_list<std::string> arguments) {
    return given::parameters(measure(arguments), "sink_rate").get<double>("epsilon");
  };
  const Folder folder;
  const std::string file = folder.file("c.toml", "[sink_rate]\nepsilon = 0.4\n");
  CHECK(epsilon({"m.pt"}) == 0.3);
  CHECK(epsilon({"m.pt", "--config", file}) == 0.4);
  const Variable variable("SINKSCOPE_SET", "sink_rate.epsilon=0.5;sink_rate.keys=3");
  CHECK(epsilon({"m.pt", "--config", file}) == 0.5);
  CHECK(epsilon({"m.pt", "--config", file, "--set", "sink_rate.epsilon=0.6"}) == 0.6);
  CHECK(given::parameters(measure({"m.pt"}), "sink_rate").get<std::int64_t>("keys") == 3);
}

TEST_CASE("each environment variable in use is echoed and an overridden one is not", "[config]") {
  const Variable length("SINKSCOPE_LENGTH", "20"), metrics("SINKSCOPE_METRICS", "loss,sink_rate");
  const Variable set("SINKSCOPE_SET", "sink_rate.epsilon=0.5"), empty("SINKSCOPE_SEED", "");
  std::vector<std::string> notes;
  measure({"m.pt"}, &notes);
  CHECK(notes == std::vector<std::string>{"from the environment: SINKSCOPE_METRICS=loss,sink_rate",
                                          "from the environment: SINKSCOPE_SET sink_rate.epsilon=0.5",
                                          "from the environment: SINKSCOPE_LENGTH=20"});
  notes.clear();
  measure({"m.pt", "--length", "10", "--preset", "full", "--set", "sink_rate.epsilon=0.1"}, &notes);
  CHECK(notes.empty());
}

TEST_CASE("parameters of metrics that are not measured are worth a warning, unless a flag gives them", "[config]") {
  const Folder folder;
  const std::string file = folder.file("c.toml", "[sink_rate]\nepsilon = 0.4\nkeys = 2\n\n[key_norm]\n");
  const auto notes_of = [](std::initializer_list<std::string> arguments) {
    std::vector<std::string> notes;
    measure(arguments, &notes);
    return notes;
  };
  const std::string warning = "warning: these metrics are not measured, so their parameters are not used: ";
  CHECK(notes_of({"m.pt", "--config", file, "--metric", "loss"}) ==
        std::vector<std::string>{warning + "sink_rate (" + file + ":2)"});
  for (const char* preset : {"full", "quick", "gu2024"})
    CHECK(notes_of({"m.pt", "--config", file, "--preset", preset}).empty());
  const Variable set("SINKSCOPE_SET", "first_token_mass.k=2");
  CHECK(notes_of({"m.pt", "--config", file, "--metric", "loss"}) ==
        std::vector<std::string>{warning + "first_token_mass (SINKSCOPE_SET), sink_rate (" + file + ":2)"});
  CHECK(refusal({"m.pt", "--metric", "loss", "--set", "sink_rate.keys=3"}) ==
        "--set sink_rate.keys: sink_rate is not measured; add --metric sink_rate");
}

TEST_CASE("a variable that is nearly a setting is worth a warning", "[config]") {
  CHECK(suspicious_variables().empty());
  const Variable slip("SINKSCOPE_LENGHT", "20"), other("SINKSCOPE_OF_SOMEBODY_ELSE", "1");
  CHECK(suspicious_variables() ==
        std::vector<std::string>{"SINKSCOPE_LENGHT is not used; did you mean SINKSCOPE_LENGTH?"});
}

TEST_CASE("named metrics are exactly those, in the order of the table and once each", "[config]") {
  const MeasureConfig config = measure({"m.pt", "--metric", "sink_rate", "--metric", "loss", "--metric", "sink_rate"});
  REQUIRE(config.metrics.size() == 2);
  CHECK(config.metrics[0].spec->name == "loss");
  CHECK(config.metrics[1].spec->name == "sink_rate");
  CHECK_FALSE(config.preset.has_value());
}

TEST_CASE("metrics named by a flag replace the preset of a file, and a preset by flag the metrics of a file",
          "[config]") {
  const Folder folder;
  const std::string preset = folder.file("p.toml", "preset = \"gu2024\"\n");
  const std::string metrics = folder.file("m.toml", "metrics = [\"loss\"]\n");
  const MeasureConfig named = measure({"m.pt", "--config", preset, "--metric", "loss"});
  CHECK_FALSE(named.preset.has_value());
  CHECK_FALSE(named.input.length.has_value());  // nothing of the preset is left
  CHECK(measure({"m.pt", "--config", metrics, "--preset", "quick"}).preset == "quick");
  CHECK(measure({"m.pt", "--config", metrics}).metrics.size() == 1);
}

TEST_CASE("one source of tokens by flag replaces another one from a file", "[config]") {
  const Folder folder;
  const std::string file = folder.file("c.toml", "tokens = \"a.jsonl\"\n");
  const MeasureConfig config = measure({"m.pt", "--config", file, "--random-tokens", "3"});
  CHECK_FALSE(config.input.tokens.has_value());
  CHECK(config.input.random_tokens == 3);
  CHECK(config.input.length == 64);
}

TEST_CASE("what contradicts itself in one place is refused", "[config]") {
  CHECK(refusal({"m.pt", "--tokens", "a", "--random-tokens", "3"}) ==
        "--tokens and --random-tokens exclude each other; give one");
  CHECK(refusal({"m.pt", "--preset", "quick", "--metric", "loss"}) ==
        "--preset and --metric exclude each other; give one");
  CHECK(refusal({"m.pt", "--metric", "loss", "--logits", "none"}) == "the metric loss needs --logits all");
}

TEST_CASE("unknown names are refused with the nearest valid one", "[config]") {
  CHECK_THAT(refusal({"m.pt", "--metric", "sink_rat"}), contains("sink_rate"));
  CHECK_THAT(refusal({"m.pt", "--preset", "quik"}), contains("did you mean 'quick'"));
  CHECK_THAT(refusal({"m.pt", "--set", "sink_rate.epsilom=1"}), contains("epsilon"));
  CHECK_THAT(refusal({"m.pt", "--set", "sink_rat.epsilon=1"}), contains("sink_rate"));
  CHECK_THAT(refusal({"m.pt", "--set", "dormant_head.scores=awft,aho"}), contains("ahon"));
}

TEST_CASE("a value of the wrong type or out of range is refused, naming where it was given", "[config]") {
  CHECK(refusal({"m.pt", "--limit", "0"}) == "--limit: expects at least 1, not 0");
  CHECK(refusal({"m.pt", "--limit", "1.5"}) == "--limit: expects a whole number, not '1.5'");
  CHECK(refusal({"m.pt", "--length", "99999999999999999999"}).starts_with("--length: expects a whole number"));
  CHECK(refusal({"m.pt", "--device", "cuda:x"}) == "--device: expects auto, cpu, cuda or cuda:N, not 'cuda:x'");
  CHECK(refusal({"m.pt", "--dtype", "fp32"}).starts_with("--dtype: expects one of keep, float32"));
  CHECK(refusal({"m.pt", "--bos", "-1"}).starts_with("--bos: expects auto, keep, none or a token id"));
  CHECK(refusal({"m.pt", "--layers", "3-1"}).starts_with("--layers: expects layers"));
  const Folder folder;
  const std::string file = folder.file("c.toml", "layers = \"\"\n");
  CHECK(refusal({"m.pt", "--config", file}) == file + ":1: layers: expects one value");
  CHECK(refusal({"m.pt", "--label", "novalue"}).starts_with("--label: expects NAME=VALUE"));
  CHECK(refusal({"m.pt", "--set", "sink_rate"}).starts_with("--set: expects METRIC.PARAMETER=VALUE"));
  CHECK(refusal({"m.pt", "--set", "sink_rate.epsilon=high"}) ==
        "--set: sink_rate.epsilon: expects a number, not 'high'");
  CHECK_THAT(refusal({"m.pt", "--set", "sink_rate.epsilon=1.5"}), contains("between 0 and 1"));
  const Variable variable("SINKSCOPE_THREADS", "two");
  CHECK(refusal({"m.pt"}) == "SINKSCOPE_THREADS: expects a whole number, not 'two'");
}

TEST_CASE("values of every kind arrive in the configuration", "[config]") {
  const MeasureConfig config =
      measure({"m.pt", "--device",        "cuda:3",  "--dtype",  "bfloat16",   "--bos",
               "7",    "--label",         "run=a=b", "--label",  "run=c",      "--allow-missing",
               "a.*",  "--allow-missing", "b.*",     "--verify", "--no-color", "--logits",
               "last", "--preset",        "quick",   "-o",       "r.json",     "--expect-sites",
               "0"});
  CHECK(config.model == "m.pt");
  CHECK((config.device == Device::cuda && config.device_index == 3));
  CHECK(config.dtype == DType::bfloat16);
  CHECK(config.logits == Logits::last);
  CHECK(config.input.bos == "7");
  CHECK(config.labels == std::vector<std::pair<std::string, std::string>>{{"run", "c"}});
  CHECK(config.allow_missing == std::vector<std::string>{"a.*", "b.*"});
  CHECK(config.verify);
  CHECK_FALSE(config.color);
  CHECK(config.progress);
  CHECK(config.output == "r.json");
  CHECK(config.expect_sites == 0);
}

TEST_CASE("inspect takes the settings of input and place from the environment but no metrics", "[config]") {
  const Variable variable("SINKSCOPE_DEVICE", "cpu"), metrics("SINKSCOPE_METRICS", "nonsense");
  const InspectConfig config = given::inspect({"m.pt", "--run", "--random-tokens", "2", "--json"});
  CHECK(config.run);
  CHECK(config.settings.json);
  CHECK(config.settings.device == Device::cpu);
  CHECK(config.settings.input.random_tokens == 2);
  CHECK(config.settings.metrics.empty());
}
