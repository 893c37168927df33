#pragma once
// Statistics against a float64 computation on the materialised matrix.

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/needs.h"
#include "metric/measurement.h"
#include "observe/attention_view.h"

namespace sinkscope {

/// Largest error of each statistic so far.
class ErrorTable {
 public:
  /// Largest absolute difference, divided by the expected magnitude where `relative`. NaN in both places agrees.
  void compare(const std::string& statistic, const at::Tensor& got, const at::Tensor& expected, bool relative);
  std::vector<std::pair<std::string, Number>> entries() const;

 private:
  std::map<std::string, double> largest_;
};

inline constexpr std::int64_t kVerifiedLength = 2048;  ///< beyond, rows are sampled
inline constexpr std::int64_t kVerifiedRows = 64;

/// Probabilities, column sums, entropy and log-sum-exp of one call, absolute errors; norms relative.
void compare_site(const AttentionView& view, const Needs& needs, ErrorTable& errors);

/// Norms and extremes of one stream, relative errors.
void compare_stream(const at::Tensor& stream, const Needs& needs, ErrorTable& errors);

}  // namespace sinkscope
