#include <fmt/core.h>

#include <cmath>
#include <stdexcept>

#include "accumulate/bootstrap.h"
#include "base/sha256.h"
#include "base/version.h"
#include "report/report.h"

namespace sinkscope {
namespace {

using Json = nlohmann::ordered_json;

template <class T>
Json optional(const std::optional<T>& value) {
  return value ? Json(*value) : Json();
}

/// Not a number and infinity are no JSON: null, as undefined is.
Json number(const Number& value) { return value && std::isfinite(*value) ? Json(*value) : Json(); }

Json number(const Number& value, bool integer) {
  Json json = number(value);
  return integer && !json.is_null() ? Json(static_cast<std::int64_t>(std::llround(*value))) : json;
}

Json numbers(const std::vector<Number>& values) {
  Json json = Json::array();
  for (const Number& value : values) json.push_back(number(value));
  return json;
}

/// Row-major `data` as lists in lists, one level for each entry of `shape` from `dim` on; `at` is the next element.
Json nested(const std::vector<Number>& data, const std::vector<std::size_t>& shape, std::size_t dim, std::size_t& at,
            bool integer) {
  if (dim == shape.size()) return number(data.at(at++), integer);
  Json json = Json::array();
  for (std::size_t i = 0; i < shape[dim]; ++i) json.push_back(nested(data, shape, dim + 1, at, integer));
  return json;
}

Json nested(const Series& series, const std::vector<Number>& data, bool integer) {
  std::size_t at = 0;
  Json json = nested(data, series.shape, 0, at, integer);
  if (at != data.size() || series.dims.size() != series.shape.size())
    throw std::logic_error(fmt::format("series {}: shape and data differ in size", series.name));
  return json;
}

Json to_json(const Coordinate& coordinate) {
  bool integer = true;
  for (const double value : coordinate.values) integer &= value == std::floor(value);
  Json data = Json::array();
  for (const double value : coordinate.values) data.push_back(number(value, integer));
  return {{"dims", {coordinate.dim}}, {"data", data}};
}

Json to_json(const Series& series) {
  Json json;
  json["dims"] = series.dims;
  if (!series.coords.empty())
    for (const Coordinate& coordinate : series.coords) json["coords"][coordinate.dim] = to_json(coordinate);
  json["attrs"] = {{"unit", series.unit}};
  json["data"] = nested(series, series.data, series.integer);
  if (!series.uniform.empty()) json["uniform"] = nested(series, series.uniform, false);
  return json;
}

Json to_json(const Records& records) {
  Json json = Json::array();
  for (const Record& row : records.rows) {
    Json entry = Json::object();
    for (const auto& [name, cell] : row)
      entry[name] = std::visit(
          []<class T>(const T& value) -> Json {
            if constexpr (std::is_same_v<T, std::monostate>)
              return nullptr;
            else if constexpr (std::is_same_v<T, double>)
              return number(value);
            else
              return value;
          },
          cell);
    json.push_back(std::move(entry));
  }
  return json;
}

Json to_json(const MetricResult& result) {
  const Measurement& m = result.measurement;
  Json json;
  json["definition"] = result.spec->definition;
  json["definition_version"] = result.spec->definition_version;
  json["source"] = result.spec->source;
  json["unit"] = result.spec->unit;
  json["parameters"] = Json::object();
  for (const auto& [name, value] : result.parameters.entries())
    json["parameters"][name] = std::visit([](const auto& held) -> Json { return held; }, value);
  json["value"] = number(m.value);
  json["ci95"] = m.ci95 ? Json{number((*m.ci95)[0]), number((*m.ci95)[1])} : Json();
  json["uniform"] = number(m.uniform);
  json["count"] = m.count;
  json["count_of"] = m.count_of;
  json["rejected"] = m.rejected;
  if (!m.per_sequence.empty()) json["per_sequence"] = numbers(m.per_sequence);
  if (!m.per_site.empty()) json["per_site"] = numbers(m.per_site);
  for (const auto& heads : m.per_head) json["per_head"].push_back(numbers(heads));
  for (const GroupValue& group : m.by_group)
    json["by_group"].push_back({{"kind", group.kind},
                                {"mask", group.mask},
                                {"value", number(group.value)},
                                {"uniform", number(group.uniform)},
                                {"count", group.count}});
  for (const Series& series : m.series) json["series"][series.name] = to_json(series);
  for (const Records& records : m.records) {
    if (json.contains(records.name)) throw std::logic_error(fmt::format("records may not be called {}", records.name));
    json[records.name] = to_json(records);
  }
  return json;
}

Json to_json(const ModelInfo& model) {
  Json weights;
  if (const auto& w = model.weights)
    weights = {{"path", w->path}, {"sha256", w->sha256}, {"dtype", w->dtype}, {"casts", w->casts}};
  return {{"path", model.path},
          {"sha256", model.sha256},
          {"parameters", model.parameters},
          {"dtype", model.dtype},
          {"vocabulary", optional(model.vocabulary)},
          {"metadata", model.metadata},
          {"weights", weights}};
}

/// Null where neither is known.
Json named_hash(const std::optional<std::string>& name, const std::optional<std::string>& sha256) {
  if (!name && !sha256) return nullptr;
  return {{"name", optional(name)}, {"sha256", optional(sha256)}};
}

Json to_json(const InputInfo& input) {
  Json position_0 = Json::object();
  for (const auto& [id, sequences] : input.position_0_ids) position_0[std::to_string(id)] = sequences;
  return {{"source", input.source},
          {"path", optional(input.path)},
          {"file_sha256", optional(input.file_sha256)},
          {"sha256", input.sha256},
          {"sequences", input.sequences},
          {"tokens", input.tokens},
          {"length", {{"min", input.min_length}, {"max", input.max_length}}},
          {"vocabulary", optional(input.vocabulary)},
          {"bos",
           {{"id", optional(input.bos_id)},
            {"policy", input.bos_policy},
            {"at_position_0", input.bos_at_position_0},
            {"inside", input.bos_inside}}},
          {"position_0_ids", position_0},
          {"tokenizer", named_hash(input.tokenizer_name, input.tokenizer_sha256)},
          {"corpus", named_hash(input.corpus_name, input.corpus_sha256)},
          {"seed", optional(input.seed)}};
}

Json to_json(const SettingsInfo& settings) {
  return {{"device", settings.device},
          {"dtype", settings.dtype},
          {"threads", settings.threads},
          {"batch_tokens", settings.batch_tokens},
          {"torch", settings.torch},
          {"cuda", optional(settings.cuda)},
          {"bootstrap", {{"resamples", kBootstrapResamples}, {"seed", kBootstrapSeed}}}};
}

Json to_json(const VerifyInfo& verify) {
  Json errors = Json::object();
  for (const auto& [statistic, error] : verify.max_error) errors[statistic] = number(error);
  return {
      {"logits_bit_identical", verify.logits_bit_identical},
      {"sequences", verify.sequences},
      {"prefix_consistent", optional(verify.prefix_consistent)},
      {"max_error", errors}};
}

Json to_json(const SiteInfo& site) {
  return {{"id", index(site.id)},
          {"path", site.path},
          {"ordinal", site.ordinal},
          {"layer", optional(site.layer)},
          {"kind", site.kind},
          {"pattern", site.pattern},
          {"measured_by", site.measured_by},
          {"reason", optional(site.reason)},
          {"query_heads", optional(site.query_heads)},
          {"kv_heads", optional(site.kv_heads)},
          {"head_dim", optional(site.head_dim)},
          {"mask", site.mask},
          {"window", optional(site.window)},
          {"softcap", optional(site.softcap)},
          {"learned_sink", site.learned_sink},
          {"row_sum", site.row_sum},
          {"calls", site.calls}};
}

Json to_json(const StreamInfo& stream) {
  return {{"id", index(stream.id)}, {"path", stream.path}, {"point", stream.point}, {"layer", optional(stream.layer)}};
}

}  // namespace

std::string sha256_of_config(const Json& effective) {
  // nlohmann::json sorts its keys, which ordered_json does not.
  return sha256_of(nlohmann::json(effective).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

Json to_json(const Report& report) {
  Json json;
  json["schema_version"] = kSchemaVersion;
  json["kind"] = "measure";
  json["complete"] = report.complete;
  json["labels"] = Json::object();
  for (const auto& [key, value] : report.labels) json["labels"][key] = value;
  json["tool"] = {{"name", "sinkscope"}, {"version", version()}, {"commit", commit()}};
  json["created"] = report.created;
  json["argv"] = report.argv;
  json["config"] = {{"preset", report.preset.empty() ? Json() : Json(report.preset)},
                    {"sha256", sha256_of_config(report.effective_config)},
                    {"effective", report.effective_config}};
  json["model"] = to_json(report.model);
  json["input"] = to_json(report.input);
  json["settings"] = to_json(report.settings);
  json["run"] = {{"seconds", number(report.run.seconds)},
                 {"tokens_per_second", number(report.run.tokens_per_second)},
                 {"peak_memory_bytes", report.run.peak_memory_bytes}};
  json["verify"] = report.verify ? to_json(*report.verify) : Json();
  for (const char* list : {"sites", "unmatched", "streams"}) json[list] = Json::array();
  for (const SiteInfo& site : report.layout.sites) json["sites"].push_back(to_json(site));
  for (const Unmatched& op : report.unmatched)
    json["unmatched"].push_back({{"path", op.path}, {"op", op.op}, {"reason", op.reason}});
  for (const StreamInfo& stream : report.layout.streams) json["streams"].push_back(to_json(stream));
  json["metrics"] = Json::object();
  for (const MetricResult& metric : report.metrics) json["metrics"][metric.spec->name] = to_json(metric);
  json["warnings"] = Json::array();
  for (const Warning& warning : report.warnings)
    json["warnings"].push_back({{"code", warning.code}, {"message", warning.message}});
  return json;
}

}  // namespace sinkscope
