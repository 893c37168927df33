#include "report/render.h"

#include "base/error.h"
#include "report/facts.h"
#include "report/fixed_report.h"
#include "report/golden.h"
#include "report/heads.h"
#include "report/text.h"

using namespace sinkscope;
using Json = nlohmann::ordered_json;

namespace {

std::vector<SavedReport> two_reports() {
  SavedReport first{"a.json", "a", fixed_json()}, second{"b.json", "b", fixed_json()};
  second.json["labels"] = Json::object();
  second.json["metrics"]["sink_rate"]["value"] = 0.75;
  second.json["metrics"].erase("massive_activation");
  return {first, second};
}

}  // namespace

TEST_CASE("the table matches its golden file", "[report]") {
  check_golden("table.txt", render_table(fixed_json(), {.width = 120}));
}

TEST_CASE("the table of one metric with its series matches its golden file", "[report]") {
  check_golden("metric.txt", render_table(fixed_json(), {.width = 80, .metrics = {"massive_activation", "sink_rate"}}));
}

TEST_CASE("the Markdown matches its golden file", "[report]") {
  check_golden("report.md", render_markdown(fixed_json()));
}

TEST_CASE("the methods paragraph matches its golden file", "[report]") {
  check_golden("methods.txt", render_methods(fixed_json(), {.width = 100}));
}

TEST_CASE("the CSV matches its golden file", "[report]") {
  check_golden("report.csv", render_csv({{"report.json", "report", fixed_json()}}));
}

TEST_CASE("the overview of two reports matches its golden file", "[report]") {
  check_golden("overview.txt", render_overview(two_reports(), {.width = 100}));
}

TEST_CASE("no line of a table is longer than the terminal, from 60 columns on", "[report]") {
  for (const std::size_t width : {60u, 80u, 100u, 200u}) {
    std::istringstream lines(render_table(fixed_json(), {.width = width}));
    for (std::string line; std::getline(lines, line);) {
      CAPTURE(width, line);
      CHECK(line.size() <= width);
    }
  }
}

TEST_CASE("colour codes appear only when asked for", "[report]") {
  CHECK_FALSE(contains(render_table(fixed_json()), "\x1b["));
  CHECK(contains(render_table(fixed_json(), {.color = true}), "\x1b[1m"));
}

TEST_CASE("heads are ranked by value and those without one are left out", "[report]") {
  const auto heads = strongest_heads(fixed_json(), "first_token_mass", 10);
  REQUIRE(heads.size() == 3);
  CHECK(heads[0].label == "L1H1");
  CHECK(heads[1].label == "L1H0");
  CHECK(heads[2].label == "L0H0");
  CHECK(heads[0].uniform == 0.07412329537172345);
  CHECK(strongest_heads(fixed_json(), "first_token_mass", 1).size() == 1);
}

TEST_CASE("heads can be ranked by a series, with the uniform values of the series", "[report]") {
  const auto heads = strongest_heads(fixed_json(), "first_token_mass.last_query", 1);
  CHECK(heads[0].label == "L1H1");
  CHECK(heads[0].uniform == 0.015625);
}

TEST_CASE("a quantity without a value for each head is refused with those that have one", "[report]") {
  CHECK(contains(message_of<UsageError>([] { strongest_heads(fixed_json(), "sink_rate", 1); }),
                 "first_token_mass.last_query"));
  CHECK(contains(message_of<UsageError>([] { strongest_heads(fixed_json(), "sinkrate", 1); }),
                 "did you mean 'sink_rate'"));
}

TEST_CASE("a head whose layer has two sites is named by its site", "[report]") {
  Json report = fixed_json();
  report["sites"][1]["layer"] = 0;
  CHECK(head_label(report, 1, 1) == "S1H1");
  report["sites"][1]["layer"] = nullptr;
  CHECK(head_label(report, 1, 1) == "S1H1");
  CHECK(head_label(report, 0, 1) == "L0H1");
}

TEST_CASE("the dominant key of a head is shown where it was measured", "[report]") {
  Json report = fixed_json();
  report["metrics"]["dominant_key"] = report["metrics"]["massive_activation"];
  report["metrics"]["dominant_key"]["series"] = {
      {"position", {{"dims", {"site", "head"}}, {"attrs", {{"unit", "position"}}}, {"data", {{0, 5}, {nullptr, 3}}}}}};
  CHECK(contains(render_table(report), "L1H1 .84, uniform .0741, dominant key 3"));
}

TEST_CASE("a departure from a paper's protocol is starred and quick says what it looks at", "[report]") {
  Json report = fixed_json();
  report["config"]["preset"] = "gu2024";
  CHECK(preset_words(report) == "gu2024");
  report["warnings"].push_back({{"code", "protocol_deviation"}, {"message", "length 32"}});
  CHECK(preset_words(report) == "gu2024*");
  report["warnings"] = Json::array();
  report["config"]["preset"] = "quick";
  CHECK(contains(render_table(report, {.width = 200}), "preset quick (first keys only)"));
}

TEST_CASE("the table says whether the id at position 0 is the BOS", "[report]") {
  Json report = fixed_json();
  CHECK(position_0_words(report) == "id 1 (BOS) at position 0 in all 2");
  report["input"]["bos"]["at_position_0"] = 0;
  report["input"]["position_0_ids"] = {{"7", 2}};
  CHECK(position_0_words(report) == "id 7 at position 0 in all 2 (not the BOS, which is 1)");
  report["input"]["bos"]["id"] = nullptr;
  report["input"]["position_0_ids"] = {{"7", 1}, {"8", 1}};
  CHECK(contains(position_0_words(report), "2 different ids"));
  CHECK(contains(position_0_words(report), "nothing says which id is BOS"));
}

TEST_CASE("an interrupted run is marked in every rendering for people", "[report]") {
  Json report = fixed_json();
  report["complete"] = false;
  CHECK(contains(render_table(report), "INCOMPLETE"));
  CHECK(contains(render_markdown(report), "Incomplete"));
  CHECK(contains(render_methods(report), "interrupted"));
  CHECK(contains(render_overview({{"a.json", "a", report}}), "a (incomplete)"));
}

TEST_CASE("sorting puts the report with the largest value first", "[report]") {
  const std::string text = render_overview(two_reports(), {.metrics = {"sink_rate"}, .sort = "sink_rate"});
  CHECK(text.find("\nb ") < text.find("\na "));
  CHECK_THROWS_AS(render_overview(two_reports(), {.sort = "nothing"}), UsageError);
}

TEST_CASE("a narrow overview says which metrics it leaves out", "[report]") {
  CHECK(contains(render_overview(two_reports(), {.width = 30}), "not shown for want of width: sink_rate"));
}

TEST_CASE("numbers are short, without a zero before the point, and null is a dash", "[report]") {
  const auto text = [](double x) { return short_number(Json(x)); };
  CHECK(text(0.0741233) == ".0741");
  CHECK(text(-0.5) == "-.5");
  CHECK(text(0) == "0");
  CHECK(text(1) == "1");
  CHECK(text(3111.7) == "3112");
  CHECK(text(12.345) == "12.3");
  CHECK(text(1.234e-5) == "1.23e-05");
  CHECK(text(2e9) == "2e+09");
  CHECK(short_number(nullptr) == "-");
}

TEST_CASE("wrapped text keeps to its width and ends in dots where it was cut", "[report]") {
  CHECK(wrapped("one two three", 7, 9) == std::vector<std::string>{"one two", "three"});
  CHECK(wrapped("one two three four", 9, 1) == std::vector<std::string>{"one ..."});
  CHECK(wrapped("incomprehensible", 4, 2) == std::vector<std::string>{"incomprehensible"});
}

TEST_CASE("a bar in a definition does not end the cell of a Markdown table", "[report]") {
  Json report = fixed_json();
  report["metrics"]["sink_rate"]["definition"] = "mean of |x|";
  CHECK(contains(render_markdown(report), "mean of \\|x\\|"));
}

TEST_CASE("CSV cells with commas and quotes are quoted", "[report]") {
  Json report = fixed_json();
  report["labels"]["checkpoint"] = "a,\"b\"";
  CHECK(contains(render_csv({{"r", "r", report}}), "\n\"a,\"\"b\"\"\","));
}

TEST_CASE("in the CSV of several reports those without a label bear the name of their file", "[report]") {
  const std::string text = render_csv(two_reports(), {"sink_rate"});
  CHECK(contains(text, "\nstep1000,1000,,sink_rate,"));
  CHECK(contains(text, "\nb,,,sink_rate,"));
}

TEST_CASE("a saved report renders exactly as the fresh one", "[report]") {
  const Json saved = parse_report(dump(fixed_json()), "r.json");
  CHECK(render_csv({{"r", "r", saved}}) == render_csv({{"r", "r", fixed_json()}}));
  CHECK(render_table(saved) == render_table(fixed_json()));
}
