#include "check/render_check.h"

#include <fmt/format.h>

#include "check/escape.h"
#include "check/groups.h"
#include "small_report.h"

using namespace sinkscope;

namespace {

/// The outcome of comparing two reports under rules.
Outcome outcome(const Json& old, const Json& fresh, const std::string& rules = "") {
  Outcome result;
  result.fresh = "new.json";
  result.baselines = {"old.json"};
  result.rules = rules.empty() ? "" : "rules.toml";
  result.comparisons = compared({old}, fresh, rules);
  for (const Comparison& c : result.comparisons) result.ok &= !fails(result, c);
  return result;
}

Comparison failure(const std::string& metric, const std::string& message) {
  Comparison c;
  c.metric = metric;
  c.status = Status::fail;
  c.reason = Reason::exceeds_tolerance;
  c.message = message;
  return c;
}

/// Ten heads of one site that failed by 1 to 10 tolerances.
Outcome many_heads() {
  Outcome result;
  result.ok = false;
  for (std::size_t head = 0; head < 10; ++head) {
    Comparison c = failure("sink_rate", fmt::format("head {} moved", head));
    c.scope = Scope::head;
    c.site = 0;
    c.head = head;
    c.change = 0.01 * static_cast<double>(head + 1);
    c.tolerance = 0.01;
    result.comparisons.push_back(c);
  }
  return result;
}

std::size_t lines_with(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

}  // namespace

TEST_CASE("the text lists what passes first, what fails last, and the verdict at the end", "[check]") {
  const std::string text = check_as_text(outcome(small_report(), changed({{"/metrics/sink_rate/value", 0.9}})), false);
  CHECK(text ==
        "new.json against old.json\n\n"
        "PASS loss: 2 -> 2, change 0, tolerance 0.1 (5 %)\n"
        "PASS massive_activation: 100 -> 100, change 0, tolerance 5 (5 %)\n"
        "FAIL sink_rate: 0.5 -> 0.9, change +0.4, tolerance 0.02\n\n"
        "FAIL: 1 of 3 comparisons: 2 PASS, 1 FAIL\n");
}

TEST_CASE("of many heads the worst five are shown, and a count", "[check]") {
  const std::string text = check_as_text(many_heads(), false);
  CHECK(lines_with(text, "FAIL head") == 5);
  CHECK(text.find("head 9 moved") < text.find("head 5 moved"));
  CHECK(contains(text, "... and 5 more: 5 FAIL at scope head"));
  CHECK(check_as_json(many_heads())["comparisons"].size() == 10);  // JSON has all
}

TEST_CASE("--allow changes whether it fails and nothing else", "[check]") {
  Json less = small_report();
  less["metrics"].erase("loss");
  Outcome result = outcome(small_report(), less);
  CHECK_FALSE(result.ok);
  result.allowed = {Status::missing};
  result.ok = true;
  CHECK(contains(check_as_text(result, false), "MISSING loss: only in OLD, where it is 2 (allowed)"));
  CHECK(contains(check_as_text(result, false), "ok: 3 comparisons"));
  CHECK(contains(check_as_junit(result), "failures=\"0\" errors=\"0\""));
  CHECK(lines_with(check_as_annotations(result), "::error") == 0);
  CHECK(lines_with(check_as_annotations(result), "::warning") == 1);
}

TEST_CASE("the JSON has every field of the contract", "[check]") {
  const Json json = check_as_json(outcome(small_report(), changed({{"/metrics/sink_rate/value", 0.9}})));
  CHECK(json["kind"] == "check");
  CHECK(json["ok"] == false);
  CHECK(json["summary"] == Json::parse(R"({"PASS": 2, "FAIL": 1})"));
  const Json& c = json["comparisons"][0];
  for (const char* key : {"metric", "scope", "site", "head", "old", "new", "change", "tolerance", "status", "severity",
                          "reason", "message"})
    CHECK(c.contains(key));
  CHECK(c["status"] == "FAIL");
  CHECK(c["site"].is_null());
  CHECK(c["reason"] == "exceeds_tolerance");
}

TEST_CASE("XML text holds no markup, no line end and nothing that XML forbids", "[check]") {
  CHECK(xml_escaped("a<b>&\"c\"") == "a&lt;b&gt;&amp;&quot;c&quot;");
  CHECK(xml_escaped("a\nb\tc\r") == "a&#10;b&#9;c&#13;");
  CHECK(xml_escaped(std::string("a\0\x1b", 3)) == "a\xef\xbf\xbd\xef\xbf\xbd");
  CHECK(xml_escaped("\xff\xc3") == "\xef\xbf\xbd\xef\xbf\xbd");
  CHECK(xml_escaped("\xed\xa0\x80") == "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");  // a surrogate
  CHECK(xml_escaped("\xef\xbf\xbf") == "\xef\xbf\xbd");                          // U+FFFF
  CHECK(xml_escaped("\xc3\xa9\xf0\x9f\x98\x80") == "\xc3\xa9\xf0\x9f\x98\x80");
}

TEST_CASE("workflow commands cannot be ended or begun by text of a report", "[check]") {
  CHECK(command_data("50% of\r\n::error::x, y: z") == "50%25 of%0D%0A::error::x, y: z");
  CHECK(command_property("a:b,c%\n") == "a%3Ab%2Cc%25%0A");
  Outcome result;
  result.baselines = {"a,b:c.json"};
  result.comparisons = {failure("loss", "line\nbreak 5%")};
  CHECK(check_as_annotations(result) == "::error file=a%2Cb%3Ac.json,title=FAIL loss::line%0Abreak 5%25\n");
}

TEST_CASE("an annotation points at the line of the rule", "[check]") {
  const Outcome result = outcome(small_report(), changed({{"/metrics/loss/value", 9.0}}), rule("metric='loss'"));
  CHECK(contains(check_as_annotations(result), "::error file=rules.toml,line=1,title=FAIL loss::loss: 2 -> 9"));
}

TEST_CASE("there are never more than ten annotations of a kind, and the last one counts the rest", "[check]") {
  Outcome result;
  for (std::size_t i = 0; i < 25; ++i) {
    result.comparisons.push_back(failure("loss", "moved"));
    result.comparisons.back().group = i;
  }
  const std::string text = check_as_annotations(result);
  CHECK(lines_with(text, "::error ") == 10);
  CHECK(contains(text, "and 16 more"));
}

TEST_CASE("all heads of a rule are one annotation and one JUnit case", "[check]") {
  CHECK(lines_with(check_as_annotations(many_heads()), "::error ") == 1);
  CHECK(contains(check_as_annotations(many_heads()), "head 9 moved (the worst of 10 FAIL)"));
  const std::string junit = check_as_junit(many_heads());
  CHECK(lines_with(junit, "<testcase ") == 1);
  CHECK(contains(junit, "tests=\"1\" failures=\"1\" errors=\"0\""));
}

TEST_CASE("INCOMPARABLE is an error in JUnit, names are unique", "[check]") {
  Outcome result = outcome(small_report(), changed({{"/settings/dtype", "float16"}}),
                           rule("metric='loss'") + rule("metric='loss'\nseverity='warn'"));
  const std::string junit = check_as_junit(result);
  CHECK(contains(junit, "tests=\"2\" failures=\"0\" errors=\"1\""));
  CHECK(contains(junit, "name=\"loss\""));
  CHECK(contains(junit, "name=\"loss (2)\""));
}

TEST_CASE("the step summary keeps within its size and says what was cut", "[check]") {
  Outcome result;
  for (std::size_t i = 0; i < 2000; ++i) {
    result.comparisons.push_back(failure("loss|`<b>", "moved"));
    result.comparisons.back().group = i;
  }
  const std::string text = check_as_summary(result, 20000);
  CHECK(text.size() <= 20000);
  CHECK(text.size() > 19000);
  CHECK(contains(text, " more rows"));
  CHECK(contains(text, "loss&#124;&#96;&#60;b&#62;"));
  CHECK(check_as_summary(result, 10).empty());
}
