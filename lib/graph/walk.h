#pragma once
// Small questions about a flat TorchScript graph that the idioms share.

#include <torch/csrc/jit/ir/ir.h>

#include <functional>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sinkscope {

/// "softmax" for aten::softmax; the full name for other namespaces.
std::string_view op_name(const torch::jit::Node* node);
bool is_op(const torch::jit::Node* node, std::initializer_list<std::string_view> aten_names);

/// Path of the module that holds a node ("" for the root), as inline_with_paths left it.
std::string module_of(torch::jit::Node* node);
/// The same below the module that called it. Differs where modules share one: "layers.1.attention" when layer 1 calls
/// "layers.0.attention".
std::string called_as(torch::jit::Node* node);

/// An operator that is a softmax of its first input.
bool is_softmax(const torch::jit::Node* node);

/// The constant integer behind `value`, if it is one.
std::optional<std::int64_t> constant_int(const torch::jit::Value* value);
/// The constant number behind `value`, an integer too.
std::optional<double> constant_number(const torch::jit::Value* value);
/// The constant integers of a list.
std::optional<std::vector<std::int64_t>> constant_ints(const torch::jit::Value* list);
/// A number, also one in a tensor of a single element, as tracing writes it.
bool is_constant_number(const torch::jit::Value* value);
bool is_tensor(const torch::jit::Value* value);

/// True if `value` is a parameter or buffer, at most reshaped or cast: its leaf is a prim::GetAttr.
bool is_parameter(torch::jit::Value* value);

/// x[:]: a slice that keeps everything, as tracing writes around an unsqueeze.
bool keeps_everything(const torch::jit::Node* node);

/// Visits every node in execution order, blocks included; `depth` counts enclosing prim::If and prim::Loop blocks.
void for_each_node(torch::jit::Block* block, const std::function<void(torch::jit::Node*, int depth)>& visit,
                   int depth = 0);

/// In-place operators that write into a tensor or a view of it: keys may be filled in piece by piece
/// (`keys[..., :n] = a`).
std::vector<torch::jit::Node*> writes_into(torch::jit::Value* tensor);
/// What they write.
std::vector<torch::jit::Value*> written_into(torch::jit::Value* tensor);

}  // namespace sinkscope
