#pragma once
// The state that leaves each block.

#include <optional>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "graph/block_calls.h"
#include "graph/residual_sum.h"

namespace sinkscope {

/// What a reader of the residual-stream metrics must know about where the streams were taken: paths of blocks.
struct StreamRemarks {
  /// Consecutive blocks of a stack of which the second is not given what the first hands on.
  std::vector<std::pair<std::string, std::string>> gaps;
  std::vector<std::string> added_outside;  ///< hand on only what they add: the stream is the sum, behind the block
  std::vector<std::string> no_residual;    ///< what they are given is no term of anything that they hand on
  std::vector<std::string> unseen;         ///< hand on no tensor or tuple of tensors: nothing leaves them
  std::vector<std::string> several;        ///< hand on more than one sum with what they were given; one is taken
};

/// A block and where its state is.
struct Boundary : BlockCall {
  explicit Boundary(BlockCall call) : BlockCall(std::move(call)) {}

  std::vector<torch::jit::Node*> sums;  // results that are sums of what the block was given
  std::optional<ResidualSum> outer;     // the sum behind the block, where that is what it hands on
  torch::jit::Value* state = nullptr;   // what the block was given of that sum
  torch::jit::Node* result = nullptr;   // the marker of the result that is the state; null if the state lies outside
  torch::jit::Value* leaving = nullptr;
};

/// A block that is no element of a list.
bool is_lone(const BlockCall& block);
bool same_list(const BlockCall& a, const BlockCall& b);
bool meets(const std::unordered_set<torch::jit::Value*>& a, const std::unordered_set<torch::jit::Value*>& b);

/// Decides what leaves each of `calls`, in execution order. What leaves a block is that of its results of which the
/// state that it was given is a term; where none is, or where it is added to once more, the sum behind the block, as
/// the next block of the list is given it.
std::vector<Boundary> find_boundaries(const FlatGraph& flat, std::vector<BlockCall> calls, StreamRemarks& remarks);

}  // namespace sinkscope
