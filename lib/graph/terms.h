#pragma once
// What a hidden state is a sum of.

#include <torch/csrc/jit/ir/ir.h>

#include <unordered_set>

namespace sinkscope {

/// A constant, or a parameter or buffer as it is.
bool is_constant(const torch::jit::Value* value);
bool is_scale(const torch::jit::Node* node);
/// Whether a use of a value makes it a term of a sum, rather than a factor of one.
bool is_term(const torch::jit::Use& use);
/// Whether a value is a term of the results of a use of it.
bool hands_on(const torch::jit::Use& use);

/// What a value is made of, followed back through additions, scales, norms, casts, dropout, changes of shape and
/// tuples, but through no map that mixes the features of a position.
struct Terms {
  std::unordered_set<torch::jit::Value*> all;     ///< the value itself included
  std::unordered_set<torch::jit::Value*> summed;  ///< those behind at least one addition
};
Terms terms_of(torch::jit::Value* value);

/// The term of `value` that is one of `values` and has the fewest operators between; null if none is.
torch::jit::Value* nearest_term(torch::jit::Value* value, const std::unordered_set<torch::jit::Value*>& values);

bool is_norm(const torch::jit::Node* node);

/// Whether something that was computed for every feature is among the terms of `value`: not only numbers, parameters,
/// tensors of one number and statistics such as a norm written out uses.
bool is_contribution(torch::jit::Value* value);

/// What a linear map with a parameter is applied to; null if the node is none.
torch::jit::Value* projected(torch::jit::Node* node);

}  // namespace sinkscope
