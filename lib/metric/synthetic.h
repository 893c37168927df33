#pragma once
// The fake source: observations computed by plain loops from attention matrices written out in full, so that a test
// knows the answer by hand. It is also the executable specification of observation.h.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/needs.h"
#include "base/random.h"
#include "metric/layout.h"
#include "metric/measurement.h"
#include "metric/metric.h"
#include "metric/observation.h"
#include "metric/parameters.h"
#include "metric/visibility.h"

namespace sinkscope::synthetic {

using Matrix = std::vector<std::vector<double>>;  ///< [rows][columns]

/// A[i, j] = 1 / (visible keys) at every visible key.
Matrix uniform_attention(const Visibility& mask);
/// Causal; every query but those that cannot see `key` gives it `mass` and spreads the rest evenly over the other
/// visible keys. Query `key` 0 sees only itself.
Matrix planted_sink(std::int64_t length, double mass, std::int64_t key = 0);
/// Rows of positive weights that sum to one over the visible keys.
Matrix random_attention(const Visibility& mask, SplitMix64& random);

/// One attention call.
struct Site {
  std::vector<Matrix> heads;  ///< [H] of [Q][K]
  Visibility mask = Visibility::causal(0, 0);
  std::vector<Visibility> head_masks = {};  ///< [H], of the same shape; default: `mask` for all
  std::string kind = "self";
  /// one | with_sink | free. with_sink: what a row lacks to one goes to a learned sink. free: rows are not checked and
  /// have a proxy. Both are also reported renormalised.
  std::string row_sum = "one";
  bool marked = false;            ///< weights alone: no keys, values and outputs
  Matrix key_norms = {};          ///< [G][K]; default: G = H, all 1
  Matrix value_norms = {};        ///< [G][K]; default: G = H, all 1
  Matrix head_output_norms = {};  ///< [H][Q]; default: all 1
  const Visibility& mask_of(std::size_t head) const { return head_masks.empty() ? mask : head_masks.at(head); }
};
/// A causal site of these heads.
Site causal_site(std::vector<Matrix> heads);

/// Everything that one sequence shows.
struct Input {
  std::vector<std::int64_t> ids;  ///< default: 0 .. length - 1
  std::int64_t length = 0;        ///< default: queries of the first site, positions of the first stream, or ids
  std::vector<Site> sites = {};
  std::vector<Matrix> streams = {};        ///< [streams] of [T][d]
  std::optional<double> nll_sum = {};      ///< over length - 1 tokens
  std::vector<std::int64_t> targets = {};  ///< of jacobian, resolved
  Matrix jacobian = {};                    ///< [targets][T] norms (not squared)
  bool causal = true;
  bool tokens = true;  ///< false: the rows are no tokens, and have no ids
};
Input one_site(Site site);

/// The statistics of a site, as the torch part would hand them over. Rejected heads (NaN, row sum off by more than
/// 1e-3) have valid = 0.
SiteObservation observe(const Site& site, const Sequence& sequence, SiteId id, const Needs& needs);
StreamObservation observe(const Matrix& state, const Sequence& sequence, StreamId id, const Needs& needs);

/// Feeds inputs [begin, end) to a state; their sequence ids are their places in `inputs`.
void feed(Metric& metric, const Needs& needs, const std::vector<Input>& inputs, std::size_t begin, std::size_t end);
Layout layout_of(const std::vector<Input>& inputs);
RunShape shape_of(const std::vector<Input>& inputs);

/// All inputs through one metric.
Measurement measure(const MetricSpec& spec, const std::vector<Input>& inputs, const Parameters& parameters);
Measurement measure(const MetricSpec& spec, const std::vector<Input>& inputs);

/// The series called `name`; throws std::out_of_range if there is none.
const Series& series(const Measurement& measurement, const std::string& name);

}  // namespace sinkscope::synthetic
