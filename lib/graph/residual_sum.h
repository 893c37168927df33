#pragma once
// Where what a block computes is added to the hidden state that it was given.

#include <torch/csrc/jit/ir/ir.h>

#include <cstddef>
#include <optional>
#include <unordered_set>

#include "graph/terms.h"

namespace sinkscope {

struct ResidualSum {
  torch::jit::Value* sum = nullptr;
  torch::jit::Value* state = nullptr;  ///< the nearest term of the other operand that is one of the states
};

enum class Projections { stop, pass };
/// The first sum in execution order of what `part` becomes by scales, norms and the like, and by linear
/// maps where they `pass`, and of a term that is one of `states` or made of one.
std::optional<ResidualSum> sum_with(torch::jit::Value* part, const std::unordered_set<torch::jit::Value*>& states,
                                    Projections projections = Projections::stop);

/// The nodes that a value is computed by.
using Path = std::unordered_set<const torch::jit::Node*>;
Path path_to(const torch::jit::Value* value);
/// The first output of a graph, also if it returns a tuple.
const torch::jit::Value* first_output(const torch::jit::Graph& graph);

/// How far a state is followed.
struct Range {
  const torch::jit::Node* end = nullptr;  ///< before this node
  const Path* path = nullptr;             ///< on this path; both null: anywhere
  std::optional<std::size_t> sums;        ///< at most so many additions
  bool post_norm = false;                 ///< the layers before end with a norm of the sum
};
struct Followed {
  torch::jit::Value* state = nullptr;
  std::size_t sums = 0;
};
/// A state after what is added to it, one after the other. Norms are passed where what is added is added to their
/// result; then, or with `post_norm`, the last one too.
Followed follow_sums(torch::jit::Value* state, const Range& range);

}  // namespace sinkscope
