#pragma once
// In which order a dim holds sequences and something else (heads or windows) that a model merged into it.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

namespace sinkscope {

/// A dim of B x n entries is [B x n] or, sequences innermost, [n x B]. Its size does not say which, and no pattern of a
/// graph says it for every spelling: the entries of a sequence that runs alone are compared with both readings of the
/// batch.
class MergedOrder {
 public:
  /// Whether sequences are innermost; empty: not decided.
  std::optional<bool> sequences_inner() const { return sequences_inner_; }
  /// Whether a batch waits for its sequences to be compared.
  bool open() const { return batch_.defined(); }

  /// Keeps what later runs are compared with. x [B x n, ..., rows, columns] of a batch of B > 1 sequences.
  void keep(const at::Tensor& x, std::int64_t sequences);
  /// x [n, ..., rows, columns] of `sequence` of the kept batch, alone. Decides, or leaves it open where both readings
  /// hold the same numbers. Throws InputError where neither holds those of the sequence.
  void compare(const at::Tensor& x, std::int64_t sequence);
  /// After all sequences: where both readings hold the same numbers for each, this batch has no wrong one.
  void settle();

 private:
  std::optional<bool> sequences_inner_;
  at::Tensor batch_;  ///< a few numbers of each entry
  std::int64_t sequences_ = 0, agreed_ = 0;
};

}  // namespace sinkscope
