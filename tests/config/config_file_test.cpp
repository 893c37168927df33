#include "catch.h"
#include "config/setting_source.h"
#include "given.h"

using namespace sinkscope;

namespace {

std::string refusal(const std::string& toml) {
  try {
    from_toml(toml, "run.toml");
    return "";
  } catch (const UsageError& error) {
    return error.what();
  }
}

}  // namespace

TEST_CASE("an unknown key names file, line and the nearest valid key", "[config]") {
  CHECK(refusal("\nlimti = 5\n") == "run.toml:2: unknown key 'limti'; did you mean 'limit'?");
  CHECK(refusal("[sink_rates]\n") == "run.toml:1: unknown key 'sink_rates'; did you mean 'sink_rate'?");
  CHECK(refusal("[sink_rate]\nepsilom = 0.1\n") ==
        "run.toml:2: sink_rate.epsilom: unknown key; did you mean 'epsilon'?");
  CHECK_THAT(refusal("protocol = \"mine\"\n"), contains("unknown key 'protocol'"));
}

TEST_CASE("a value of another type than the setting's names file and line", "[config]") {
  CHECK(refusal("limit = \"5\"") == "run.toml:1: limit: expects a whole number");
  CHECK(refusal("tokens = 5") == "run.toml:1: tokens: expects text in quotes");
  CHECK(refusal("verify = 1") == "run.toml:1: verify: expects true or false");
  CHECK(refusal("metrics = 1") == "run.toml:1: metrics: expects a list of texts, like [\"a\", \"b\"]");
  CHECK(refusal("labels = \"a\"") == "run.toml:1: labels: expects a table, like { name = \"value\" }");
  CHECK(refusal("sink_rate = 0.3") == "run.toml:1: sink_rate: expects a table of its parameters");
  CHECK(refusal("[sink_rate]\nepsilon = \"0.3\"") == "run.toml:2: sink_rate.epsilon: expects a number");
  CHECK(refusal("[first_token_mass]\ntrigger = [1.5]") ==
        "run.toml:2: first_token_mass.trigger: expects a list of whole numbers");
}

TEST_CASE("a syntax error names file and line", "[config]") {
  CHECK(refusal("limit = 1\nlength = = 2\n").starts_with("run.toml:2: "));
  CHECK(refusal("limit = 1\nlimit = 2\n").starts_with("run.toml:2: "));
}

TEST_CASE("a whole number is accepted where a parameter is a decimal number", "[config]") {
  const SettingSource source = from_toml("[massive_activation]\nmagnitude = 50\n", "run.toml");
  CHECK(source.parameters.at({"massive_activation", "magnitude"}).values == std::vector<std::string>{"50"});
}

TEST_CASE("one metric or glob may stand without a list", "[config]") {
  CHECK(from_toml("metrics = \"loss\"", "run.toml").settings.at("--metric").values == std::vector<std::string>{"loss"});
}
