#pragma once
// Statistics against a float64 computation on the materialised matrix.

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/needs.h"
#include "metric/measurement.h"
#include "observe/attention_view.h"

namespace sinkscope {

/// What a difference is divided by: nothing; the expected magnitude; or, for log-sum-exp, that magnitude where it is
/// above 1, since a logit of 40 has no more digits than any other float.
enum class ErrorUnit { absolute, relative, logit };

/// Largest error of each statistic so far.
class ErrorTable {
 public:
  /// NaN in both places agrees.
  void compare(const std::string& statistic, const at::Tensor& got, const at::Tensor& expected, ErrorUnit unit);
  std::vector<std::pair<std::string, Number>> entries() const;

 private:
  std::map<std::string, double> largest_;
};

inline constexpr std::int64_t kVerifiedLength = 2048;  ///< beyond, rows are sampled
inline constexpr std::int64_t kVerifiedRows = 64;

/// Probabilities, column sums, entropies and log-sum-exp of one call, and norms. `non_trigger` as in site_statistics.
void compare_site(const AttentionView& view, const Needs& needs, const std::optional<at::Tensor>& non_trigger,
                  ErrorTable& errors);

/// Norms and extremes of one stream, relative errors.
void compare_stream(const at::Tensor& stream, const Needs& needs, ErrorTable& errors);

}  // namespace sinkscope
