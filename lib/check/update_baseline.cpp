#include "check/update_baseline.h"

#include <fmt/format.h>

namespace sinkscope {

std::optional<Error> unfit_for_baseline(const nlohmann::ordered_json& report) {
  if (report["complete"] == false)
    return InputError("NEW is of an interrupted run and does not become the baseline. Measure again.");
  for (const auto& [name, metric] : report["metrics"].items()) {
    if (const auto rejected = metric["rejected"].get<std::int64_t>(); rejected > 0)
      return Error(Exit::numerical,
                   fmt::format("NEW does not become the baseline: {} samples of {} were rejected for a NaN or a wrong "
                               "row sum. What was there before is untouched.",
                               rejected, name));
    // An undefined headline rests on no sample; one that does was NaN or infinite.
    if (metric["value"].is_null() && metric["count"].get<std::int64_t>() > 0)
      return Error(Exit::numerical,
                   fmt::format("NEW does not become the baseline: {} is NaN or infinite. What was there before is "
                               "untouched.",
                               name));
  }
  return std::nullopt;
}

}  // namespace sinkscope
