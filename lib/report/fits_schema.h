#pragma once
// Just enough of JSON Schema to read reports safely.

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace sinkscope {

/// The first place where `value` lacks something that `schema` requires or has another type, as "/metrics/loss/value:
/// is a string, number or null is needed"; empty if there is none. Looks at type, required, properties,
/// additionalProperties (as a schema), items, minItems, anyOf and $ref; enumerations, constants, patterns and unknown
/// properties are not judged, because a later minor version may add to them.
std::optional<std::string> misfit(const nlohmann::ordered_json& value, const nlohmann::ordered_json& schema);

}  // namespace sinkscope
