#pragma once
// Which of the leading dims of a site's tensors counts sequences and which heads, where one run does not show it.

#include <cstdint>
#include <map>
#include <optional>
#include <set>

#include "base/ids.h"
#include "observe/merged_order.h"

namespace sinkscope {

/// The leading dims of a matrix of rank 4 in a run over `sequences`.
struct LeadingDims {
  std::int64_t first = 0, second = 0, sequences = 0;
};

/// What runs have shown of every site of a model. [B, H, ...] and [H, B, ...] look the same where B = H, and so may
/// windows [B x W, H, ...]; a run over another number of sequences tells them apart. The order inside a merged dim
/// shows when a sequence runs alone.
class HeadOrders {
 public:
  /// A run begins. `alone`: it only shows orders, and runs this sequence of the batch before (or that batch twice).
  void begin_run(std::optional<std::int64_t> alone = std::nullopt);

  /// Whether the site is [H, B, ...]. `shown`: what this run alone shows; where that is open, `guess` holds until a run
  /// over another number of sequences decides. Throws InputError where neither order fits two runs.
  bool heads_first(SiteId site, const LeadingDims& dims, std::optional<bool> shown, bool guess);
  /// Whether heads_first waits for another run.
  bool is_open(SiteId site) const;

  /// Whether x [B x n, ...] of a site, n > 1, is [n x B, ...]; guessed not until a sequence has run alone.
  bool sequences_inner(SiteId site, const at::Tensor& x, std::int64_t sequences);

  /// Whether a guess has not been decided on yet.
  bool open() const;
  /// All sequences of a batch have run alone: what they leave open makes no difference to it.
  void settle();
  /// Whether a guess has turned out wrong since this was last asked: what was taken with it is not valid.
  bool take_mistaken();

 private:
  struct Order {
    std::optional<bool> heads_first;
    std::optional<LeadingDims> open;  ///< of the run in which `guess` was made
    bool guess = false;
  };
  std::map<std::int64_t, Order> orders_;
  std::map<std::int64_t, MergedOrder> merged_;
  std::set<std::int64_t> seen_;  ///< merged sites of this run: later rounds of a loop have the order of the first
  std::optional<std::int64_t> alone_;
  bool mistaken_ = false;
};

}  // namespace sinkscope
