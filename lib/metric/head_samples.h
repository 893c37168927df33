#pragma once
// The samples of a headline that is a mean over (sequence, site, head). Memory: sites x heads + sequences, never their
// product.

#include <cstddef>
#include <vector>

#include "accumulate/mean.h"
#include "metric/head_table.h"
#include "metric/layout.h"
#include "metric/measurement.h"
#include "metric/observation.h"

namespace sinkscope {

class HeadSamples {
 public:
  /// One sample; see HeadTable::add for what is rejected and what is undefined. Sites and sequences may come in any
  /// order.
  void add(const SiteObservation& observation, std::size_t head, Number value, double uniform = kNoUniform);
  void merge(const HeadSamples& other);
  const HeadTable& table() const { return table_; }
  /// value, ci95, uniform, count, count_of, rejected, per_sequence, per_site, per_head, by_group; series and records
  /// are empty.
  Measurement measurement(const Layout& layout) const;

 private:
  /// Self and cross apart, because only the whole run shows whether the headline is over self-attention sites.
  struct PerSequence {
    Mean self, cross;
  };
  HeadTable table_;
  std::vector<PerSequence> sequences_;  ///< [sequence]
};

}  // namespace sinkscope
