#pragma once
// check --expect: METRIC[.SERIES] OP NUMBER, without a baseline.

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "check/comparison.h"
#include "check/values.h"

namespace sinkscope {

/// "sink_rate<0.05", "max(massive_activation.ratio) < 1000", "first_token_mass.tail[2][1] >= .1". A series means every
/// element; [i] chooses along its first dimension, [i][j] along two, negative from the end. Series may also be
/// per_sequence, per_site and per_head.
struct Expectation {
  enum class Over { each, max, min, mean };
  enum class Operator { less, less_equal, greater, greater_equal, equal, not_equal };

  std::string text;  ///< as it was given
  Over over = Over::each;
  Quantity quantity;
  std::vector<std::int64_t> indices;
  Operator op{};
  double number = 0;
};

/// Throws UsageError that shows the form.
Expectation parse_expectation(const std::string& text);

/// PASS, or FAIL with the worst element. An element without a value fails, and so do rejected samples; a report of an
/// interrupted run is INCOMPARABLE unless `ignore_incomplete`. Throws UsageError for a metric, series or index that the
/// report does not have: a mistyped expectation must not pass.
Comparison judge(const Expectation& expectation, const nlohmann::ordered_json& report, bool ignore_incomplete);

}  // namespace sinkscope
