#include <fmt/core.h>
#include <fmt/ranges.h>

#include <array>
#include <map>

#include "report/render.h"

namespace sinkscope {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::array<const char*, 17> kColumns = {
    "checkpoint", "step",   "training_tokens", "metric", "series", "layer",   "site", "path", "head",
    "kv_head",    "stream", "position",        "coord",  "value",  "uniform", "unit", "count"};

/// Column -> text. Columns that are absent become empty cells.
using Line = std::map<std::string, std::string>;

/// RFC 4180: cells with a separator, a quote or a line end are quoted, quotes doubled.
std::string escaped(const std::string& cell) {
  if (cell.find_first_of(",\"\r\n") == std::string::npos) return cell;
  std::string quoted = "\"";
  for (const char c : cell) quoted += c == '"' ? "\"\"" : std::string(1, c);
  return quoted + '"';
}

/// Numbers as JSON writes them: they read back exactly. Null is an empty cell.
std::string cell_of(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  return value.is_null() ? "" : value.dump();
}

bool is_index(const Json& value) { return value.is_number_integer() && value >= 0; }

const Json& element(const Json& list, std::size_t i) {
  static const Json null;
  return list.is_array() && i < list.size() ? list[i] : null;
}

class Writer {
 public:
  Writer(const Json& report, std::string checkpoint, std::string& text) : report_(report), text_(text) {
    const Json& labels = report["labels"];
    for (const char* column : {"checkpoint", "step", "training_tokens"})
      if (labels.contains(column)) base_[column] = cell_of(labels[column]);
    if (!base_.contains("checkpoint")) base_["checkpoint"] = std::move(checkpoint);
  }

  void write(const std::string& name, const Json& metric) {
    base_["metric"] = name;
    base_["unit"] = cell_of(metric["unit"]);
    line({{"value", cell_of(metric["value"])},
          {"uniform", cell_of(metric["uniform"])},
          {"count", cell_of(metric["count"])}});
    if (metric.contains("by_group"))
      for (const Json& group : metric["by_group"])
        line({{"series", "by_group"},
              {"coord", cell_of(group["kind"]) + "/" + cell_of(group["mask"])},
              {"value", cell_of(group["value"])},
              {"uniform", cell_of(group["uniform"])},
              {"count", cell_of(group["count"])}});
    if (metric.contains("per_sequence")) array("per_sequence", {"sequence"}, metric["per_sequence"]);
    if (metric.contains("per_site")) array("per_site", {"site"}, metric["per_site"]);
    if (metric.contains("per_head")) array("per_head", {"site", "head"}, metric["per_head"]);
    if (metric.contains("series"))
      for (const auto& [key, series] : metric["series"].items()) write_series(key, series);
    for (const auto& [key, records] : metric.items())
      if (records.is_array() && !records.empty() && records[0].is_object() && key != "by_group")
        for (const Json& record : records) write_record(key, record);
  }

 private:
  void line(const Line& cells) {
    std::string separator;
    for (const char* column : kColumns) {
      text_ += separator;
      separator = ",";
      if (const auto own = cells.find(column); own != cells.end()) {
        text_ += escaped(own->second);
      } else if (const auto shared = base_.find(column); shared != base_.end()) {
        text_ += escaped(shared->second);
      }
    }
    text_ += "\n";
  }

  void describe_site(Line& cells, std::size_t site) const {
    const Json& info = element(report_["sites"], site);
    cells["site"] = std::to_string(site);
    if (!info.is_object()) return;
    cells["layer"] = cell_of(info["layer"]);
    cells["path"] = cell_of(info["path"]);
  }

  void describe_stream(Line& cells, std::size_t stream) const {
    const Json& info = element(report_["streams"], stream);
    cells["stream"] = std::to_string(stream);
    if (!info.is_object()) return;
    cells["layer"] = cell_of(info["layer"]);
    cells["path"] = cell_of(info["path"]);
  }

  /// Puts the coordinate of a dimension where it belongs; those without a column of their own go to `others`.
  void place(Line& cells, const std::string& dim, std::size_t i, const Json& coords,
             std::vector<std::string>& others) const {
    const bool named = coords.is_object() && coords.contains(dim);
    const Json coordinate = element(named ? coords[dim]["data"] : Json(), i);
    const std::string at = coordinate.is_null() ? std::to_string(i) : cell_of(coordinate);
    if (dim == "site") {
      describe_site(cells, i);
    } else if (dim == "stream") {
      describe_stream(cells, i);
    } else if (dim == "head" || dim == "kv_head" || dim == "position") {
      cells[dim] = at;
    } else {
      others.push_back(at);
      others.push_back(dim + "=" + at);
    }
  }

  void array(const std::string& series, const std::vector<std::string>& dims, const Json& data,
             const Json& uniform = {}, const Json& coords = {}) {
    std::vector<std::size_t> at;
    walk(series, dims, data, uniform, coords, at);
  }

  void walk(const std::string& series, const std::vector<std::string>& dims, const Json& data, const Json& uniform,
            const Json& coords, std::vector<std::size_t>& at) {
    if (data.is_array()) {
      for (std::size_t i = 0; i < data.size(); ++i) {
        at.push_back(i);
        walk(series, dims, data[i], element(uniform, i), coords, at);
        at.pop_back();
      }
      return;
    }
    Line cells = {{"series", series}, {"value", cell_of(data)}, {"uniform", cell_of(uniform)}};
    std::vector<std::string> others;  // bare, then named, for each dimension
    for (std::size_t i = 0; i < at.size() && i < dims.size(); ++i) place(cells, dims[i], at[i], coords, others);
    if (others.size() == 2) cells["coord"] = others[0];
    for (std::size_t i = 1; others.size() > 2 && i < others.size(); i += 2)
      cells["coord"] += (i > 1 ? ";" : "") + others[i];
    line(cells);
  }

  void write_series(const std::string& key, const Json& series) {
    const std::string unit = base_["unit"];
    base_["unit"] = cell_of(series["attrs"]["unit"]);
    static const Json null;
    array(key, series["dims"].get<std::vector<std::string>>(), series["data"],
          series.contains("uniform") ? series["uniform"] : null, series.contains("coords") ? series["coords"] : null);
    base_["unit"] = unit;
  }

  /// Fields with a column of their own go there, the others to `coord`.
  void write_record(const std::string& series, const Json& record) {
    Line cells = {{"series", series}};
    for (const auto& [key, value] : record.items()) {
      if (key == "site" && is_index(value)) {
        describe_site(cells, value.get<std::size_t>());
      } else if (key == "stream" && is_index(value)) {
        describe_stream(cells, value.get<std::size_t>());
      } else if (key == "head" || key == "kv_head" || key == "position" || key == "value") {
        cells[key] = cell_of(value);
      } else if (key == "sequences" || key == "count") {
        cells["count"] = cell_of(value);
      } else if (!value.is_null()) {
        cells["coord"] += (cells["coord"].empty() ? "" : ";") + key + "=" + cell_of(value);
      }
    }
    line(cells);
  }

  const Json& report_;
  std::string& text_;
  Line base_;  ///< cells that all lines share
};

}  // namespace

std::string render_csv(const std::vector<SavedReport>& reports, const std::vector<std::string>& metrics) {
  std::string text = fmt::format("{}\n", fmt::join(kColumns, ","));
  for (const SavedReport& report : reports) {
    Writer writer(report.json, reports.size() > 1 ? report.name : "", text);
    for (const std::string& name : metric_names(report.json, metrics)) writer.write(name, report.json["metrics"][name]);
  }
  return text;
}

}  // namespace sinkscope
