#pragma once
// What a metric is given: the finished statistics of one (sequence, site), (sequence, stream) or sequence, as plain
// host values. A is the post-softmax attention of one head, A[i, j] of query i on key j. A vector is empty when no
// metric declared the need for it (base/needs.h). H query heads, G KV heads, Q queries, K keys; indices 0-based.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "metric/per_head.h"
#include "metric/visibility.h"

namespace sinkscope {

/// One input sequence.
struct Sequence {
  SequenceId id{};
  std::vector<std::int64_t> ids;  ///< [T] token ids; empty for models that take tensors
  std::int64_t length = 0;        ///< T
};

struct SiteObservation {
  const Sequence* sequence = nullptr;
  SiteId site{};
  std::int64_t query_heads = 0;
  std::int64_t kv_heads = 0;  ///< 0 where no keys, values and outputs are known (weights that an author declared)
  std::string kind = "self";  ///< self | cross

  PerHead<std::shared_ptr<const Visibility>> visibility;
  const Visibility& mask(std::size_t head) const { return *visibility.at(head); }
  std::int64_t rows() const { return mask(0).rows(); }  ///< Q
  std::int64_t keys() const { return mask(0).keys(); }  ///< K
  /// f(mask) for every head; computed once where heads share one.
  template <class F>
  auto of_masks(F f) const {
    return visibility.map([&](const auto& mask) { return f(*mask); });
  }

  /// [H] 0 where the head has a NaN or a row whose sum is far from what it should be: such a sample has no value.
  std::vector<std::uint8_t> valid;

  std::vector<double> first_key_sum;  ///< [H, first_keys]: sum over queries of A[i, k]; key k >= K: 0
  std::int64_t first_keys = 0;
  std::vector<double> first_query;        ///< [H]: A[0, 0]
  std::vector<double> last_query;         ///< [H]: A[Q-1, 0]
  std::vector<double> tail_sum;           ///< [H]: sum over the last min(tail_window, Q) queries of A[i, 0]
  std::vector<double> after_first_k_sum;  ///< [H]: sum over queries i >= k of the sum over keys j < k of A[i, j]
  /// [H]: sum of A[i, 0] over queries whose token is no trigger; empty where rows are no tokens.
  std::vector<double> non_trigger_sum;
  std::vector<double>
      renormalised_sum;  ///< [H]: sum over queries of A[i, 0] / sum_j A[i, j]; only where rows do not sum to one

  /// [H, first_keys]: as first_key_sum, of the proxy |A[i, k]| / (sum_j |A[i, j]| + 1e-8); only where rows may have any
  /// sum (row_sum `free`).
  std::vector<double> proxy_key_sum;
  /// What alpha is made of: first_key_sum, or the proxy's.
  const std::vector<double>& importance_sum() const { return proxy_key_sum.empty() ? first_key_sum : proxy_key_sum; }

  std::vector<float> column_sum;  ///< [H, K]: sum over queries of A[i, j]
  std::vector<double>
      entropy_sum;  ///< [H]: sum over queries of -sum_j A ln A, nats, not renormalised; empty for negative weights
  std::vector<double>
      normalised_entropy_sum;  ///< [H]: sum over queries of H_i / ln(visible keys), 0 where one key is visible
  std::vector<double>
      learned_sink_sum;  ///< [H]: sum over queries of the probability of a learned sink; empty without one

  std::vector<double> key_norm_first,
      key_norm_others;  ///< [G]: L2 norm of key 0; mean L2 norm of keys 1.. (NaN at K = 1)
  std::vector<double> value_norm_first, value_norm_others;  ///< [G]: the same for values
  std::vector<double> head_output_norm_mean;  ///< [H]: mean over queries of ||(A V)_i||, before the output projection
  std::vector<double> head_output_norm_last;  ///< [H]: the last query's
};

/// One element of a stream whose magnitude passes both thresholds of Needs.
struct MassiveElement {
  std::int64_t position = 0, dimension = 0;
  double value = 0;  ///< signed
};

struct StreamObservation {
  const Sequence* sequence = nullptr;
  StreamId stream{};
  std::vector<float> position_norm;        ///< [T]: L2 norm at every position
  double norm_first = 0, norm_others = 0;  ///< norm at position 0; mean norm at the other positions (NaN at T = 1)
  double top1 = 0, top2 = 0, top3 = 0;     ///< largest magnitudes over T x d (NaN where T x d has fewer elements)
  double median = 0;                       ///< lower median of the magnitudes
  std::vector<MassiveElement> massive;     ///< largest first, at most 100
  bool valid = true;                       ///< false: the state holds a NaN or Inf, so no value
};

struct LossObservation {
  const Sequence* sequence = nullptr;
  double nll_sum = 0;       ///< sum of next-token negative log-likelihoods, nats
  std::int64_t tokens = 0;  ///< predicted tokens, T - 1
};

struct JacobianObservation {
  const Sequence* sequence = nullptr;
  bool causal = true;                 ///< sources after the target have no influence
  std::vector<std::int64_t> targets;  ///< resolved positions, >= 0
  std::vector<double>
      squared_norm;  ///< [targets, T]: squared Frobenius norm of d h_target^L / d h_source^0 (mean over probes)
};

}  // namespace sinkscope
