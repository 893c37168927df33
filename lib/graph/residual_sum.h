#pragma once
// Where what a block computes is added to the hidden state that it was given.

#include <torch/csrc/jit/ir/ir.h>

#include <optional>
#include <unordered_set>
#include <vector>

namespace sinkscope {

/// What a value is made of, followed back through additions, scales, norms, casts, dropout, changes of shape and
/// tuples, but through no map that mixes the features of a position.
struct Terms {
  std::unordered_set<torch::jit::Value*> all;     ///< the value itself included
  std::unordered_set<torch::jit::Value*> summed;  ///< those behind at least one addition
};
Terms terms_of(torch::jit::Value* value);

struct ResidualSum {
  torch::jit::Value* sum = nullptr;
  torch::jit::Value* state = nullptr;  ///< the operand that was there before
};

/// What a linear map with a parameter is applied to; null if the node is none.
torch::jit::Value* projected(torch::jit::Node* node);

enum class Projections { stop, pass };
/// The first sum, in execution order or nearly so, of what `part` becomes by scales, norms and the like, and by linear
/// maps where they `pass`, and of a term that is one of `states` or made of one.
std::optional<ResidualSum> sum_with(torch::jit::Value* part, const std::unordered_set<torch::jit::Value*>& states,
                                    Projections projections = Projections::stop);

/// `state` after everything that is added to it, one after the other, before the node `end` (null: to the end).
torch::jit::Value* last_sum(torch::jit::Value* state, const torch::jit::Node* end);

}  // namespace sinkscope
