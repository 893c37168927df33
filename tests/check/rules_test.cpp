#include "check/rules.h"

#include "base/error.h"
#include "small_report.h"

using namespace sinkscope;

namespace {

std::string refusal(const std::string& text) {
  return message_of<UsageError>([&] { read_rules(text, "rules.toml"); });
}

std::string refusal_of_comparison(const std::string& rules, const std::vector<std::string>& tolerances = {}) {
  return message_of<UsageError>([&] { compared({small_report()}, small_report(), rules, {}, tolerances); });
}

std::vector<std::string> names(const std::vector<Comparison>& found) {
  std::vector<std::string> all;
  for (const Comparison& c : found) all.push_back(c.metric);
  return all;
}

Comparison of(const std::string& metric, const std::vector<Comparison>& found) {
  for (const Comparison& c : found)
    if (c.metric == metric) return c;
  FAIL(metric << " was not compared");
  return {};
}

}  // namespace

TEST_CASE("a rule has all keys of the documentation", "[check]") {
  const Rule rule = read_rules(R"([[rule]]
metric = "sink_rate.tail"
scope = "head"
fail_on = "increase"
tolerance = { abs = 0.02, rel = 0.05 }
severity = "warn"
allow_fraction = 0.1
noise = "none"
)",
                               "rules.toml")
                        .front();
  CHECK(rule.metric == "sink_rate.tail");
  CHECK(rule.scope == Scope::head);
  CHECK(rule.fail_on == Direction::increase);
  CHECK(rule.tolerance->absolute == 0.02);
  CHECK(rule.tolerance->relative == 0.05);
  CHECK(rule.severity == Severity::warn);
  CHECK(rule.allow_fraction == 0.1);
  CHECK(rule.where == "rules.toml:1");
}

TEST_CASE("what no rule file may hold is refused with line and nearest name", "[check]") {
  CHECK(contains(refusal("[[rule]]\nmetrik='loss'"), "rules.toml:2: unknown key 'metrik'; did you mean 'metric'?"));
  CHECK(contains(refusal("[[rules]]\nmetric='loss'"), "rules.toml:1: unknown key 'rules'"));
  CHECK(contains(refusal("[rule]\nmetric='loss'"), "two brackets"));
  CHECK(contains(refusal(""), "holds no [[rule]]"));
  CHECK(contains(refusal("[[rule]]\n"), "metric is missing"));
  CHECK(contains(refusal("[[rule"), "rules.toml:1"));
  CHECK(contains(refusal(rule("metric=3")), "text in quotes"));
  CHECK(contains(refusal(rule("metric='loss'\nscope='heads'")), "did you mean 'head'?"));
  CHECK(contains(refusal(rule("metric='loss'\nfail_on='rise'")), "rules.toml:3: fail_on expects one of"));
  CHECK(contains(refusal(rule("metric='loss'\ntolerance='5 apples'")), "expects a tolerance"));
  CHECK(contains(refusal(rule("metric='loss'\ntolerance=-1")), "at least 0"));
  CHECK(contains(refusal(rule("metric='loss'\ntolerance=nan")), "at least 0"));
  CHECK(contains(refusal(rule("metric='loss'\ntolerance=inf")), "at least 0"));
  CHECK(contains(refusal(rule("metric='loss'\ntolerance={absolute=1}")), "did you mean 'tolerance.abs'?"));
  CHECK(contains(refusal(rule("metric='loss'\ntolerance={}")), "abs or rel"));
  CHECK(contains(refusal(rule("metric='loss'\nscope='head'\nallow_fraction=2")), "from 0 to 1"));
  CHECK(contains(refusal(rule("metric='loss'\nallow_fraction=0.1")), "add scope"));
  CHECK(contains(refusal(rule("metric='loss'\nscope='head'\nnoise='sequences'")), "only headlines"));
}

TEST_CASE("a pattern without a dot means headlines, one with a dot series", "[check]") {
  CHECK(names(compared({small_report()}, small_report(), rule("metric='*'"))) ==
        std::vector<std::string>{"sink_rate", "loss", "massive_activation"});
  CHECK(names(compared({small_report()}, small_report(), rule("metric='*.t*'"))) ==
        std::vector<std::string>{"sink_rate.tail"});
}

TEST_CASE("a rule that matches nothing is refused and names the nearest", "[check]") {
  CHECK(contains(refusal_of_comparison(rule("metric='sinkrate'")),
                 "rules.toml:1: nothing in the reports is called "
                 "sinkrate; did you mean 'sink_rate'?"));
  CHECK(contains(refusal_of_comparison(rule("metric='loss'\nscope='head'")), "at scope head"));
  CHECK(contains(refusal_of_comparison("", {"los=1"}), "--tolerance los=1: nothing in the reports"));
}

TEST_CASE("a rule that names a metric comes before a pattern, whatever the order", "[check]") {
  const std::string every = rule("metric='*'\ntolerance=9"), one = rule("metric='loss'\ntolerance=0.5");
  for (const std::string& rules : {every + one, one + every}) {
    const auto found = compared({small_report()}, small_report(), rules);
    CHECK(found.size() == 3);
    CHECK(of("loss", found).tolerance == 0.5);
    CHECK(of("sink_rate", found).tolerance == 9.0);
  }
}

TEST_CASE("rules that contradict each other are refused with both lines", "[check]") {
  const std::string message = refusal_of_comparison(rule("metric='loss'\ntolerance=1") + rule("metric='loss'"));
  CHECK(contains(message, "rules.toml:1 and rules.toml:4: both rules are about loss at scope model"));
  CHECK(contains(refusal_of_comparison(rule("metric='*'") + rule("metric='l*'")), "both rules are about loss"));
  CHECK(
      contains(refusal_of_comparison(rule("metric='loss'\nfail_on='increase'") + rule("metric='loss'")), "both rules"));
  // A rule that names the metric settles it.
  CHECK(refusal_of_comparison(rule("metric='*'") + rule("metric='l*'\nfail_on='increase'") + rule("metric='loss'")) ==
        "rules.toml:3: what l* matches has no values at scope model or has a rule of its own. Remove it.");
}

TEST_CASE("one metric may have a warning and a failure, and a rule for each direction and scope", "[check]") {
  CHECK(compared({small_report()}, small_report(),
                 rule("metric='loss'\ntolerance=1") + rule("metric='loss'\ntolerance=0.1\nseverity='warn'"))
            .size() == 2);
  CHECK(compared({small_report()}, small_report(),
                 rule("metric='loss'\nfail_on='increase'") + rule("metric='loss'\nfail_on='decrease'\ntolerance='50%'"))
            .size() == 2);
  CHECK(
      compared({small_report()}, small_report(), rule("metric='sink_rate'") + rule("metric='sink_rate'\nscope='site'"))
          .size() == 3);
}

TEST_CASE("a pattern that others cover completely is useless", "[check]") {
  CHECK(contains(refusal_of_comparison(rule("metric='l*'") + rule("metric='loss'")), "has a rule of its own"));
}

TEST_CASE("metrics without a rule are listed", "[check]") {
  RuleSet rules(read_rules(rule("metric='loss'"), "rules.toml"), {});
  const Json report = small_report();
  CHECK(compare({"", report, {&report}}, rules, {}, 0).not_compared ==
        std::vector<std::string>{"sink_rate", "massive_activation"});
}

TEST_CASE("--tolerance replaces the tolerance of a rule and adds what no rule is about", "[check]") {
  const auto without_rules = compared({small_report()}, small_report(), "", {}, {"loss=0.5", "sink_rate.tail=50%"});
  CHECK(without_rules.size() == 4);
  CHECK(of("loss", without_rules).tolerance == 0.5);
  CHECK(*of("sink_rate.tail", without_rules).tolerance == near(0.2, 1e-12));
  const auto with_rules =
      compared({small_report()}, small_report(), rule("metric='loss'"), {}, {"l*=0.7", "sink_rate=0.1"});
  CHECK(with_rules.size() == 2);
  CHECK(of("loss", with_rules).tolerance == 0.7);
  // The last one holds, but one that names the metric holds before a pattern.
  CHECK(of("loss", compared({small_report()}, small_report(), "", {}, {"loss=1", "loss=2"})).tolerance == 2.0);
  CHECK(of("loss", compared({small_report()}, small_report(), "", {}, {"loss=1", "*=2"})).tolerance == 1.0);
}

TEST_CASE("a tolerance is written as a number or a percentage", "[check]") {
  CHECK(parse_allowance("0.02", "x").absolute == 0.02);
  CHECK(parse_allowance("5%", "x").relative == 0.05);
  CHECK(parse_allowance("5 %", "x").relative == 0.05);
  for (const char* bad : {"", "%", "-1", "nan", "inf", "1e999", "5%%", "0.02x", "0x1"})
    CHECK(contains(message_of<UsageError>([&] { parse_allowance(bad, "x"); }), "x: expects a tolerance"));
  for (const char* bad : {"loss", "=5", "loss="}) CHECK(message_of<UsageError>([&] { parse_tolerance(bad); }) != "");
}

TEST_CASE("the default tolerance of a fraction is absolute from .1 on and relative below", "[check]") {
  const Allowance fraction = default_allowance({"sink_rate", "by_key"});
  CHECK(fraction.at(0.5) == 0.02);
  CHECK(fraction.at(0.1) == 0.02);
  CHECK(fraction.at(0.08) == near(0.004, 1e-15));
  CHECK(fraction.at(0) == 0);
  CHECK(default_allowance({"loss", ""}).at(2) == near(0.1, 1e-15));
  CHECK(default_allowance({"a metric of another version", ""}).at(-2) == near(0.1, 1e-15));
  CHECK(default_allowance({"dormant_head", "ahon", true}).at(2) == near(0.1, 1e-15));  // a norm, not a fraction
}
