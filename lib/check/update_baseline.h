#pragma once
// check --update-baseline and --if-no-baseline create.

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "base/error.h"

namespace sinkscope {

/// Why a report must not become a baseline, with the exit code that says so: an interrupted run (3), a NaN, an Inf or
/// wrong row sums (5). Empty: it may.
std::optional<Error> unfit_for_baseline(const nlohmann::ordered_json& report);

}  // namespace sinkscope
