#include "report/fits_schema.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <vector>

namespace sinkscope {
namespace {

using Json = nlohmann::ordered_json;

std::string_view type_of(const Json& value) {
  if (value.is_number_integer()) return "integer";
  if (value.is_number()) return "number";
  return value.type_name();  // null, boolean, string, array, object
}

class Judge {
 public:
  explicit Judge(const Json& root) : root_(root) {}

  std::optional<std::string> misfit(const Json& value, const Json& schema, const std::string& where) const {
    if (schema.contains("$ref")) {
      const auto target = schema["$ref"].get<std::string>().substr(1);  // "#/$defs/..."
      return misfit(value, root_.at(Json::json_pointer(target)), where);
    }
    if (schema.contains("anyOf")) {
      std::optional<std::string> problem;
      for (const Json& option : schema["anyOf"])
        if (!(problem = misfit(value, option, where))) return std::nullopt;
      return problem;
    }
    if (schema.contains("type"))
      if (auto problem = wrong_type(value, schema["type"], where)) return problem;
    if (value.is_object()) return misfit_in_object(value, schema, where);
    if (value.is_array()) return misfit_in_array(value, schema, where);
    return std::nullopt;
  }

 private:
  static std::optional<std::string> wrong_type(const Json& value, const Json& type, const std::string& where) {
    std::vector<std::string> allowed;
    for (const Json& name : type.is_array() ? type : Json::array({type})) allowed.push_back(name.get<std::string>());
    const std::string_view found = type_of(value);
    const bool fits = std::any_of(allowed.begin(), allowed.end(), [&](const std::string& name) {
      return name == found || (name == "number" && found == "integer");
    });
    if (fits) return std::nullopt;
    return fmt::format("{}: {} where {} is needed", where.empty() ? "/" : where, found, fmt::join(allowed, " or "));
  }

  std::optional<std::string> misfit_in_object(const Json& value, const Json& schema, const std::string& where) const {
    if (schema.contains("required"))
      for (const Json& key : schema["required"])
        if (!value.contains(key.get<std::string>()))
          return fmt::format("{}: {} is missing", where.empty() ? "/" : where, key.get<std::string>());
    const Json properties = schema.value("properties", Json::object());
    for (const auto& [key, member] : value.items()) {
      const std::string at = where + "/" + key;
      if (properties.contains(key)) {
        if (auto problem = misfit(member, properties[key], at)) return problem;
      } else if (schema.contains("additionalProperties") && schema["additionalProperties"].is_object()) {
        if (auto problem = misfit(member, schema["additionalProperties"], at)) return problem;
      }
    }
    return std::nullopt;
  }

  std::optional<std::string> misfit_in_array(const Json& value, const Json& schema, const std::string& where) const {
    if (value.size() < schema.value("minItems", std::size_t{0})) return fmt::format("{}: too few elements", where);
    if (!schema.contains("items")) return std::nullopt;
    for (std::size_t i = 0; i < value.size(); ++i)
      if (auto problem = misfit(value[i], schema["items"], fmt::format("{}/{}", where, i))) return problem;
    return std::nullopt;
  }

  const Json& root_;
};

}  // namespace

std::optional<std::string> misfit(const nlohmann::ordered_json& value, const nlohmann::ordered_json& schema) {
  return Judge(schema).misfit(value, schema, "");
}

}  // namespace sinkscope
