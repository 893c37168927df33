#pragma once
// Text to value and back for the fields of a configuration, one pair of overloads a type.

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "config/measure_config.h"
#include "config/settings.h"

namespace sinkscope::values {

/// The only value, or a UsageError that begins with Given::where.
const std::string& only(const Given& given);
/// A whole number from `least` to `most`.
std::int64_t integer(const Given& given, std::int64_t least, std::int64_t most = INT64_MAX);
/// true/false, yes/no, on/off, 1/0.
bool truth(const Given& given);

std::string bos(const Given& given);
std::string layers(const Given& given);
std::vector<std::pair<std::string, std::string>> labels(const Given& given);
void device(MeasureConfig& config, const Given& given);
std::vector<std::string> device_text(const MeasureConfig& config);

/// One of `names`, by its position.
int choice(const Given& given, const std::vector<std::string>& names);

}  // namespace sinkscope::values
