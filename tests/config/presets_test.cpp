#include "config/presets.h"

#include "catch.h"
#include "given.h"

using namespace sinkscope;
using given::Folder;
using given::measure;
using given::selects;

TEST_CASE("every preset gives a configuration with metrics", "[config]") {
  CHECK(preset_names() == std::vector<std::string>{"full", "gu2024", "quick"});
  for (const std::string& name : preset_names()) {
    CAPTURE(name);
    const MeasureConfig config = measure({"m.pt", "--preset", name});
    CHECK(config.preset == name);
    CHECK_FALSE(config.metrics.empty());
    CHECK(config.protocol_deviations.empty());
  }
}

TEST_CASE("full is the default and has every metric that does not cost extra runs", "[config]") {
  const MeasureConfig config = measure({"m.pt"});
  CHECK(config.preset == "full");
  for (const MetricSpec& spec : all_metrics()) {
    CAPTURE(spec.name);
    CHECK(selects(config, spec.name) == !spec.only_when_named);
  }
  CHECK_FALSE(needs_of(config).jacobian.has_value());
}

TEST_CASE("quick looks at the first keys, norms, streams and loss, and needs no pass over all keys", "[config]") {
  const MeasureConfig config = measure({"m.pt", "--preset", "quick"});
  CHECK_FALSE(needs_of(config).full_pass());
  for (const char* name : {"first_token_mass", "sink_rate", "loss", "dormant_head", "hidden_norm", "massive_activation",
                           "key_norm", "value_norm", "head_output_norm"}) {
    CAPTURE(name);
    CHECK(selects(config, name));
  }
  CHECK_FALSE(selects(config, "dominant_key"));
  CHECK_FALSE(selects(config, "attention_entropy"));
  // A user who asks for the entropy score gets it: the choice of metrics is the preset's, the parameter the user's.
  CHECK(selects(measure({"m.pt", "--preset", "quick", "--set", "dormant_head.scores=ahon_ln,aeqd"}), "dormant_head"));
}

TEST_CASE("--dump-config gives the same effective configuration again, for every preset", "[config]") {
  const Folder folder;
  for (const std::string& name : preset_names()) {
    CAPTURE(name);
    const MeasureConfig config = measure({"--dump-config", "--preset", name, "--limit", "7", "--tokens",
                                          "odd \"name\\.jsonl", "--set", "first_token_mass.trigger=1,2", "--set",
                                          "sink_rate.epsilon=1e-5", "--layers", "0-2", "--label", "a=b"});
    const std::string file = folder.file(name + ".toml", to_toml(config));
    const MeasureConfig again = measure({"--dump-config", "--config", file});
    CHECK(effective_json(again) == effective_json(config));
    CHECK(again.labels == config.labels);
    CHECK(to_toml(again) == to_toml(config));
    CHECK(again.protocol_deviations == config.protocol_deviations);
  }
}

TEST_CASE("--dump-config of named metrics gives them again without a preset", "[config]") {
  const Folder folder;
  const MeasureConfig config = measure({"--dump-config", "--metric", "mixing_jacobian", "--random-tokens", "3"});
  const MeasureConfig again = measure({"--dump-config", "--config", folder.file("c.toml", to_toml(config))});
  CHECK(effective_json(again) == effective_json(config));
  CHECK(effective_json(again)["preset"].is_null());
}

TEST_CASE("the effective configuration tells apart what changes a number and only that", "[config]") {
  const auto effective = [](std::initializer_list<std::string> arguments) {
    return effective_json(measure(arguments));
  };
  const auto plain = effective({"m.pt"});
  CHECK(effective({"m.pt", "--set", "sink_rate.epsilon=0.31"}) != plain);
  CHECK(effective({"m.pt", "--layers", "0"}) != plain);
  CHECK(effective({"m.pt", "--dtype", "float16"}) != plain);
  CHECK(effective({"m.pt", "--bos", "1"}) != plain);
  CHECK(effective({"other.pt", "-o", "r.json", "--threads", "3", "--device", "cpu", "--batch", "2", "--verify",
                   "--label", "a=b", "-q"}) == plain);
  CHECK(plain["metrics"]["sink_rate"]["epsilon"] == 0.3);
  CHECK(plain["length"].is_null());
}

TEST_CASE("gu2024 is the whole protocol of the paper", "[config]") {
  const MeasureConfig config = measure({"m.pt", "--preset", "gu2024"});
  CHECK(config.input.length == 64);
  CHECK(config.input.limit == 100);
  CHECK(config.dtype == DType::float32);
  CHECK(given::parameters(config, "sink_rate").get<double>("epsilon") == 0.3);
  CHECK(given::parameters(config, "sink_rate").get<std::string>("comparator") == ">");
  CHECK(config.protocol == "arXiv 2410.10781");
}

TEST_CASE("each departure from a paper's protocol is named", "[config]") {
  const auto deviations = [](std::initializer_list<std::string> more) {
    std::vector<std::string> all = {"sinkscope", "measure", "m.pt", "--preset", "gu2024"};
    all.insert(all.end(), more.begin(), more.end());
    return given::parsed(all, [](int argc, char** argv) { return parse_measure(argc, argv).protocol_deviations; });
  };
  using Texts = std::vector<std::string>;
  CHECK(deviations({"--length", "64", "--set", "sink_rate.epsilon=0.30"}).empty());
  CHECK(deviations({"--bos", "auto"}).empty());
  CHECK(deviations({"--device", "cpu", "--batch", "3"}).empty());
  CHECK(deviations({"--set", "sink_rate.keys=3"}).empty());  // the paper fixes no number of keys
  CHECK(deviations({"--length", "128"}) == Texts{"length is 128 instead of 64"});
  CHECK(deviations({"--limit", "10", "--dtype", "keep"}) ==
        Texts{"limit is 10 instead of 100", "dtype is keep instead of float32"});
  CHECK(deviations({"--set", "sink_rate.epsilon=0.2"}) == Texts{"sink_rate.epsilon is not 0.3"});
  CHECK(deviations({"--bos", "none"}) == Texts{"bos is none instead of keep"});
  CHECK(deviations({"--layers", "0-3"}) == Texts{"only the layers 0-3 are measured"});
}

TEST_CASE("fewer sequences than the protocol asks for are a departure as well", "[config]") {
  const MeasureConfig config = measure({"m.pt", "--preset", "gu2024"});
  CHECK(input_deviations(config, 100, 0).empty());
  CHECK(input_deviations(config, 93, 0) == std::vector<std::string>{"93 sequences ran instead of 100"});
  CHECK(input_deviations(measure({"m.pt", "--limit", "100"}), 93, 5).empty());
}

TEST_CASE("a text without the tokenizer's own BOS departs from the protocol", "[config]") {
  CHECK(input_deviations(measure({"m.pt", "--preset", "gu2024"}), 100, 5) ==
        std::vector<std::string>{"5 sequences do not begin with the BOS that the model's tokenizer puts there"});
}
