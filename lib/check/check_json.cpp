#include <algorithm>

#include "check/render_check.h"

namespace sinkscope {
namespace {

using Json = nlohmann::ordered_json;

template <class T>
Json optional(const std::optional<T>& value) {
  return value ? Json(*value) : Json();
}

Json text_or_null(const std::string& text) { return text.empty() ? Json() : Json(text); }

Json to_json(const Comparison& c) {
  Json ignored = Json::array();
  for (const Reason reason : c.ignored) ignored.push_back(name_of(reason));
  return {{"checkpoint", text_or_null(c.checkpoint)},
          {"metric", c.metric},
          {"scope", name_of(c.scope)},
          {"site", optional(c.site)},
          {"path", text_or_null(c.site_path)},
          {"head", optional(c.head)},
          {"coordinate", text_or_null(c.coordinate)},
          {"old", optional(c.old_value)},
          {"new", optional(c.new_value)},
          {"change", optional(c.change)},
          {"tolerance", optional(c.tolerance)},
          {"interval", c.interval ? Json(*c.interval) : Json()},
          {"status", name_of(c.status)},
          {"severity", name_of(c.severity)},
          {"reason", name_of(c.reason)},
          {"ignored_differences", ignored},
          {"expectation", text_or_null(c.expression)},
          {"rule", text_or_null(c.rule)},
          {"message", c.message}};
}

}  // namespace

Json check_as_json(const Outcome& outcome) {
  Json json;
  json["schema_version"] = "1.0";
  json["kind"] = "check";
  json["ok"] = outcome.ok;
  json["summary"] = Json::object();
  for (const Status status : all_statuses())
    if (const auto count = std::count_if(outcome.comparisons.begin(), outcome.comparisons.end(),
                                         [&](const Comparison& c) { return c.status == status; });
        count > 0)
      json["summary"][name_of(status)] = count;
  json["new"] = outcome.fresh;
  json["baselines"] = outcome.baselines;
  json["rules"] = text_or_null(outcome.rules);
  json["allowed"] = Json::array();
  for (const Status status : outcome.allowed) json["allowed"].push_back(name_of(status));
  json["not_compared"] = outcome.not_compared;
  json["notes"] = outcome.notes;
  json["comparisons"] = Json::array();
  for (const Comparison& c : outcome.comparisons) json["comparisons"].push_back(to_json(c));
  return json;
}

}  // namespace sinkscope
