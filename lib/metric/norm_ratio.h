#pragma once
// The norm at key 0 against the mean norm of the other keys, per (site, KV head): shared by key_norm and value_norm.

#include <cstddef>
#include <vector>

#include "metric/head_table.h"
#include "metric/layout.h"
#include "metric/measurement.h"
#include "metric/observation.h"
#include "metric/sequence_cells.h"

namespace sinkscope {

/// first / others; empty where either is missing or `others` is 0.
Number norm_ratio(Number first, Number others);

class NormRatios {
 public:
  /// first, others: [KV heads] of the observation. Rejected: a norm that is not finite (others at K = 1 is undefined
  /// instead), or a KV head that no valid query head reads.
  void add(const SiteObservation& observation, const std::vector<double>& first, const std::vector<double>& others);
  void merge(const NormRatios& other);
  /// Headline: mean over (site, KV head) of ratio = mean first / mean others, the means over sequences.
  Measurement measurement(const Layout& layout) const;

 private:
  enum Column : std::size_t { kFirst, kOthers, kColumns };
  HeadTable seen_;  ///< which (site, KV head) there are and how often each was rejected
  SequenceCells norms_{kColumns};
};

}  // namespace sinkscope
