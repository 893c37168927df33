#pragma once
// Which of the two leading dims of a site's tensors counts sequences and which heads, where one run does not show it.

#include <cstdint>
#include <map>
#include <optional>

#include "base/ids.h"

namespace sinkscope {

/// The leading dims of a matrix of rank 4 in a run over `sequences`.
struct LeadingDims {
  std::int64_t first = 0, second = 0, sequences = 0;
};

/// What runs have shown of every site of a model. [B, H, ...] and [H, B, ...] look the same where B = H, and so may
/// windows [B x W, H, ...]; a run over another number of sequences tells them apart.
class HeadOrders {
 public:
  /// Whether the site is [H, B, ...]. `shown`: what this run alone shows; where that is open, `guess` holds until a run
  /// over another number of sequences decides. Throws InputError where neither order fits two runs.
  bool heads_first(SiteId site, const LeadingDims& dims, std::optional<bool> shown, bool guess);

  /// Whether a guess has not been decided on yet.
  bool open() const;
  /// Whether a guess has turned out wrong since this was last asked: what was taken with it is not valid.
  bool take_mistaken();

 private:
  struct Order {
    std::optional<bool> heads_first;
    std::optional<LeadingDims> open;  ///< of the run in which `guess` was made
    bool guess = false;
  };
  std::map<std::int64_t, Order> orders_;
  bool mistaken_ = false;
};

}  // namespace sinkscope
