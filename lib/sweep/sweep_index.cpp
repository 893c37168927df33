#include "sweep/sweep_index.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <limits>
#include <set>
#include <tuple>

#include "report/report.h"
#include "sweep/name.h"
#include "sweep/steps.h"

namespace sinkscope {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

template <class T>
Json optional(const std::optional<T>& value) {
  return value ? Json(*value) : Json();
}

std::optional<std::int64_t> integer(const Json& json, const char* key) {
  if (!json.is_object() || !json.contains(key)) return std::nullopt;
  const Json& value = json[key];
  if (value.is_number_integer()) return value.get<std::int64_t>();
  if (!value.is_string()) return std::nullopt;  // labels are text
  const auto& text = value.get_ref<const std::string&>();
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() ? std::optional(number) : std::nullopt;
}

void sort(std::vector<SweepRow>& rows) {
  std::sort(rows.begin(), rows.end(), [](const SweepRow& a, const SweepRow& b) {
    constexpr std::int64_t last = std::numeric_limits<std::int64_t>::max();
    return std::tuple(a.step.value_or(last), a.training_tokens.value_or(last), a.name) <
           std::tuple(b.step.value_or(last), b.training_tokens.value_or(last), b.name);
  });
}

/// Of rows with the same weights the first is the original, whichever of them was measured.
void mark_duplicates(std::vector<SweepRow>& rows) {
  std::map<std::string, std::string> first;
  for (SweepRow& row : rows) {
    if (row.status != "done" && row.status != "duplicate") continue;
    const auto [original, is_first] = first.emplace(row.sha256.value_or(row.name), row.name);
    row.status = is_first ? "done" : "duplicate";
    row.duplicate_of = is_first ? std::nullopt : std::optional(original->second);
    if (!is_first) row.message = fmt::format("the same weights as {}", original->second);
  }
}

void take_report(SweepIndex& index, SweepRow& row, const Json& report) {
  row.report = row.name + ".json";
  row.sha256 = weights_hash_of(report);
  row.status = "done";
  Headlines& headlines = index.headlines[row.name];
  std::int64_t rejected = 0;
  for (const auto& [name, metric] : report["metrics"].items()) {
    headlines[name] = metric["value"].is_number() ? std::optional(metric["value"].get<double>()) : std::nullopt;
    index.units[name] = metric["unit"].get<std::string>();
    rejected += metric["rejected"].get<std::int64_t>();
  }
  row.numerical_failure = rejected > 0;
  if (rejected > 0) row.message = "NaN, Inf or wrong row sums were found: some values are null";
}

void take_record(SweepRow& row, const SweepDirectory& directory, const CheckpointRecord& record) {
  std::error_code error;
  if (record.failed) {
    row.status = "failed";
    row.message = record.failed;
    row.report.reset();
  } else if (!record.sha256.empty() && fs::exists(directory.report_path(row.name), error)) {
    if (row.status != "duplicate") row.status = "done";
    row.message.reset();
    row.report = row.name + ".json";
  }
  if (!record.sha256.empty()) row.sha256 = record.sha256;
}

SweepRow row_of(const std::string& name, std::optional<std::int64_t> step,
                std::optional<std::int64_t> training_tokens) {
  SweepRow row;
  row.name = name;
  row.step = step;
  row.training_tokens = training_tokens;
  return row;
}

std::vector<SweepCheckpoint> planned(const Json& plan) {
  std::vector<SweepCheckpoint> checkpoints;
  if (!plan.is_object() || !plan.contains("checkpoints")) return checkpoints;
  for (const Json& entry : plan["checkpoints"])
    checkpoints.push_back(
        {entry.value("name", ""),
         "",
         integer(entry, "step"),
         integer(entry, "training_tokens"),
         {entry.value("before", ""), entry.value("after", ""), entry.value("width", std::size_t{0})}});
  return checkpoints;
}

}  // namespace

Json plan_json(const SweepPlan& plan, const Json& model) {
  Json checkpoints = Json::array();
  for (const SweepCheckpoint& checkpoint : plan.checkpoints)
    checkpoints.push_back({{"name", checkpoint.name},
                           {"step", optional(checkpoint.step)},
                           {"training_tokens", optional(checkpoint.training_tokens)},
                           {"before", checkpoint.place.before},
                           {"after", checkpoint.place.after},
                           {"width", checkpoint.place.width}});
  return {{"model", model}, {"expected_steps", plan.expected_steps}, {"checkpoints", checkpoints}};
}

SweepIndex read_index(const SweepDirectory& directory, const std::vector<std::int64_t>& expected_steps) {
  SweepIndex index;
  const Json plan = directory.read_plan();
  if (plan.is_object()) index.model = plan.value("model", Json());
  std::vector<std::int64_t> expected = expected_steps;
  if (expected.empty() && plan.is_object()) expected = plan.value("expected_steps", expected);
  std::vector<SweepCheckpoint> checkpoints = planned(plan);
  std::set<std::string> names;
  for (const SweepCheckpoint& checkpoint : checkpoints) {
    SweepRow row = row_of(checkpoint.name, checkpoint.step, checkpoint.training_tokens);
    if (const auto report = directory.read_report(row.name)) take_report(index, row, *report);
    if (const CheckpointRecord record = directory.read_record(row.name); record.failed) {
      take_record(row, directory, record);
      index.headlines.erase(row.name);
    }
    names.insert(row.name);
    index.rows.push_back(std::move(row));
  }
  for (const std::string& name : directory.report_names()) {
    if (names.contains(name)) continue;
    const auto report = directory.read_report(name);
    if (!report || (*report)["labels"].value("checkpoint", "") != name) continue;  // not of a sweep
    const Json& labels = (*report)["labels"];
    SweepRow row = row_of(name, integer(labels, "step"), integer(labels, "training_tokens"));
    take_report(index, row, *report);
    names.insert(name);
    const NamedStep read = StepReader().read(name);
    checkpoints.push_back({name, "", row.step, row.training_tokens, read.step == row.step ? read.place : StepPlace{}});
    index.rows.push_back(std::move(row));
  }
  for (const MissingStep& missing : missing_steps(checkpoints, expected)) {
    if (names.contains(missing.name)) continue;
    SweepRow row = row_of(missing.name, missing.step, std::nullopt);
    row.status = "missing";
    row.message = missing.message;
    row.expected = !expected.empty();
    index.rows.push_back(std::move(row));
  }
  sort(index.rows);
  mark_duplicates(index.rows);
  return index;
}

void refresh_index(SweepIndex& index, const SweepDirectory& directory) {
  for (SweepRow& row : index.rows)
    if (row.status == "pending" || row.status == "failed") take_record(row, directory, directory.read_record(row.name));
  mark_duplicates(index.rows);
}

Json to_json(const SweepRow& row) {
  return {{"name", row.name},
          {"step", optional(row.step)},
          {"training_tokens", optional(row.training_tokens)},
          {"report", optional(row.report)},
          {"sha256", optional(row.sha256)},
          {"duplicate_of", optional(row.duplicate_of)},
          {"status", row.status},
          {"message", optional(row.message)}};
}

Json to_json(const SweepIndex& index) {
  Json json{{"schema_version", kSchemaVersion}, {"kind", "sweep"}, {"model", index.model}};
  json["checkpoints"] = Json::array();
  for (const SweepRow& row : index.rows) json["checkpoints"].push_back(to_json(row));
  return json;
}

std::size_t count(const SweepIndex& index, const std::string& status) {
  return static_cast<std::size_t>(
      std::count_if(index.rows.begin(), index.rows.end(), [&](const SweepRow& row) { return row.status == status; }));
}

}  // namespace sinkscope
