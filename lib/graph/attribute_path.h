#pragma once
// Which attribute of the module a value of a flat graph is.

#include <torch/csrc/jit/ir/ir.h>

#include <optional>
#include <string>

namespace sinkscope {

/// "layers.0.weight" for the output of the last of a chain of prim::GetAttr that begins at the graph's first input;
/// empty for any other value.
std::optional<std::string> attribute_path(const torch::jit::Value* value);

}  // namespace sinkscope
