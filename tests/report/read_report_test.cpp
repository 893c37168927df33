#include "report/read_report.h"

#include <random>

#include "base/embedded.h"
#include "base/error.h"
#include "report/fits_schema.h"
#include "report/fixed_report.h"
#include "report/golden.h"
#include "report/render.h"

using namespace sinkscope;
using Json = nlohmann::ordered_json;

namespace {

std::string refusal(const Json& report) {
  return message_of<InputError>([&] { parse_report(report.dump(), "r.json"); });
}

}  // namespace

TEST_CASE("a report that was written is read", "[report]") {
  CHECK(parse_report(dump(fixed_json()), "r.json") == fixed_json());
}

TEST_CASE("a file that is empty or cut off is refused as that", "[report]") {
  const std::string whole = fixed_json().dump();
  const auto message = [](const std::string& text) {
    return message_of<InputError>([&] { parse_report(text, "r.json"); });
  };
  for (const char* empty : {"", "\n", " \t\r\n"}) CHECK(contains(message(empty), "r.json: is empty."));
  for (std::size_t size = 1; size < whole.size(); ++size) {
    CAPTURE(size);
    const std::string cut = message(whole.substr(0, size));
    REQUIRE(contains(cut, "r.json: ends at byte " + std::to_string(size) + " in the middle of its JSON"));
  }
  CHECK(contains(message(whole + "}"), "not JSON"));
}

TEST_CASE("what is no report is refused with file and reason", "[report]") {
  const std::string no_json = message_of<InputError>([] { parse_report("{]", "r.json"); });
  CHECK(contains(no_json, "r.json: not JSON, so no report of sinkscope: parse error at line 1, column 2"));
  CHECK_FALSE(contains(no_json, "json.exception"));
  CHECK(contains(message_of<InputError>([] { parse_report("[1]", "r.json"); }), "r.json: not a report"));
  Json report = fixed_json();
  report["kind"] = "sweep";
  CHECK(contains(refusal(report), "a report of kind sweep"));
  report = fixed_json();
  report["schema_version"] = "2.0";
  CHECK(contains(refusal(report), "schema version 2.0; this sinkscope reads 1.x"));
}

TEST_CASE("a report of every schema version so far is read", "[report]") {
  // One file a version, kept as it was written; a change of the schema adds one.
  bool present_version = false;
  for (const auto& file : std::filesystem::directory_iterator(SINKSCOPE_SOURCE_DIR "/tests/report/versions")) {
    const std::string path = file.path().string();
    CAPTURE(path);
    CHECK(message_of<InputError>([&] { parse_report(content_of(path), path); }) == "");
    present_version |= file.path().stem() == kSchemaVersion;
  }
  CHECK(present_version);
}

TEST_CASE("a later minor version with fields that are not known yet is read", "[report]") {
  Json report = fixed_json();
  report["schema_version"] = "1.7";
  report["novelty"] = {{"x", 1}};
  report["sites"][0]["kind"] = "sideways";
  report["metrics"]["sink_rate"]["extra"] = Json::array();
  CHECK(refusal(report) == "");
}

TEST_CASE("a damaged report is refused with the place of the damage", "[report]") {
  Json report = fixed_json();
  report["metrics"]["sink_rate"]["value"] = "high";
  CHECK(contains(refusal(report), "/metrics/sink_rate/value: string where number or null is needed"));
  report = fixed_json();
  report["input"].erase("sequences");
  CHECK(contains(refusal(report), "/input: sequences is missing"));
  report = fixed_json();
  report["metrics"]["first_token_mass"]["per_head"] = Json::parse("[[1],2]");
  CHECK(contains(refusal(report), "per_head/1"));
}

TEST_CASE("a document nested without end is refused, not followed", "[report]") {
  const std::string deep(100000, '[');
  CHECK(contains(message_of<InputError>([&] { parse_report(deep, "r.json"); }), "nested too deep"));
}

TEST_CASE("the fixed report fits the embedded schema", "[report]") {
  CHECK(misfit(fixed_json(), Json::parse(embedded::file("report.schema.json"))).value_or("") == "");
}

TEST_CASE("a folder stands for the reports in it, by name, and other kinds are passed over", "[report]") {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder / "sub");
  folder.file("b.json", dump(fixed_json()));
  folder.file("sub/a.json", dump(fixed_json()));
  folder.file("sweep.json", R"({"schema_version":"1.0","kind":"sweep"})");
  folder.file("notes.txt", "not a report");
  folder.file(".half.json", "{");
  const auto reports = read_reports({folder.path()});
  REQUIRE(reports.size() == 2);
  CHECK(reports[0].name == "b");
  CHECK(reports[1].name == "sub/a");
}

TEST_CASE("a folder without reports is an error", "[report]") {
  const TemporaryFolder folder;
  CHECK(contains(message_of<InputError>([&] { read_reports({folder.path()}); }), "holds no report"));
}

TEST_CASE("random changes to a report never crash a reader or a renderer", "[report]") {
  const std::string good = dump(fixed_json());
  std::mt19937 random(20250101);
  int rendered = 0;
  for (int round = 0; round < 3000; ++round) {
    CAPTURE(round);
    std::string text = good;
    for (auto changes = 1 + random() % 3; changes > 0; --changes) {
      const std::size_t at = random() % text.size();
      // Mostly characters that keep it JSON: digits, brackets swapped for others of the document.
      text[at] = random() % 4 == 0 ? static_cast<char>(random()) : good[random() % good.size()];
    }
    try {
      const std::vector<SavedReport> reports = {{"r", "r", parse_report(text, "r")}};
      render_table(reports[0].json);
      render_markdown(reports[0].json);
      render_methods(reports[0].json);
      render_csv(reports);
      render_overview(reports);
      ++rendered;
    } catch (const Error&) {
    }
  }
  CHECK(rendered > 100);
}
