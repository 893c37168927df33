#include "config/preflight.h"

#include "catch.h"
#include "given.h"

using namespace sinkscope;

namespace {

const given::Folder& folder() {
  static const given::Folder one;
  return one;
}

MeasureConfig config_with_model() {
  MeasureConfig config;
  config.model = folder().file("m.pt", "a model");
  return config;
}

/// Exit code and message; ok and "" where nothing is refused.
std::pair<Exit, std::string> refusal(const MeasureConfig& config) {
  try {
    check_files(config);
    return {Exit::ok, ""};
  } catch (const Error& error) {
    return {error.code, error.what()};
  }
}

}  // namespace

TEST_CASE("a model that is missing, empty or a folder is refused as input", "[config]") {
  MeasureConfig config = config_with_model();
  CHECK(refusal(config).first == Exit::ok);
  const std::vector<std::pair<std::string, std::string>> cases = {{folder().path("none.pt"), "does not exist"},
                                                                  {folder().file("empty.pt", ""), "is empty"},
                                                                  {folder().path(), "is a directory"},
                                                                  {"-", "cannot be read from stdin"}};
  for (const auto& [path, reason] : cases) {
    CAPTURE(path);
    config.model = path;
    CHECK(refusal(config).first == Exit::input);
    CHECK_THAT(refusal(config).second, contains(reason) && contains(path));
  }
}

TEST_CASE("tokens and weights that are missing are refused as input, stdin is not looked at", "[config]") {
  MeasureConfig config = config_with_model();
  config.input.tokens = folder().path("none.jsonl");
  CHECK(refusal(config).first == Exit::input);
  config.input.tokens = "-";
  CHECK(refusal(config).first == Exit::ok);
  config.weights = folder().path("none.safetensors");
  CHECK(refusal(config).first == Exit::input);
}

TEST_CASE("an output that cannot be written is refused as usage before the run, and the test leaves nothing behind",
          "[config]") {
  MeasureConfig config = config_with_model();
  for (const std::string& path : {folder().path(), folder().path("none/r.json")}) {
    CAPTURE(path);
    config.output = path;
    CHECK(refusal(config).first == Exit::usage);
  }
  config.output = folder().path("r.json");
  CHECK(refusal(config).first == Exit::ok);
  CHECK_FALSE(std::filesystem::exists(*config.output));
}

TEST_CASE("an output never replaces an input of the run, under whatever name", "[config]") {
  MeasureConfig config = config_with_model();
  config.csv = folder().path("./m.pt");
  CHECK_THAT(refusal(config).second, contains("--csv") && contains("would overwrite an input"));
}

TEST_CASE("two results on one file or on stdout are refused", "[config]") {
  MeasureConfig config = config_with_model();
  config.json = true;
  config.csv = "-";
  CHECK(refusal(config).second == "--json and --csv both write to stdout; give another file to one of them");
  config.json = false;
  CHECK(refusal(config).first == Exit::ok);
  CHECK_FALSE(prints_table(config));
  config.csv = folder().path("a");
  config.markdown = folder().path("./a");
  CHECK(refusal(config).first == Exit::usage);
  CHECK(prints_table(config));
}
