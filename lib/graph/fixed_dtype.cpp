#include "graph/fixed_dtype.h"

#include <ATen/Functions.h>
#include <fmt/format.h>
#include <torch/csrc/jit/ir/constants.h>

#include <cmath>
#include <limits>
#include <map>

#include "graph/attribute_path.h"
#include "graph/walk.h"
#include "model/load_model.h"

namespace sinkscope {
namespace {

namespace jit = torch::jit;
using jit::Node;
using jit::Value;

double largest(at::ScalarType type) {
  switch (type) {
    case at::kHalf:
      return 65504;
    case at::kBFloat16:
      return 0x1.fep127;
    case at::kFloat:
      return std::numeric_limits<float>::max();
    default:
      return std::numeric_limits<double>::max();
  }
}

std::string at_node(Node* node) { return fmt::format("{} in '{}'", op_name(node), module_of(node)); }

/// The index of an argument; empty if the operator has none of that name.
std::optional<std::size_t> argument(const Node* node, const char* name) {
  const c10::FunctionSchema* schema = node->maybeSchema();
  if (schema == nullptr) return std::nullopt;
  const auto index = schema->argumentIndexWithName(name);
  return index && static_cast<std::size_t>(*index) < node->inputs().size() ? std::optional<std::size_t>(*index)
                                                                           : std::nullopt;
}

class Search {
 public:
  Search(const jit::Module& module, at::ScalarType own, at::ScalarType wanted) : own_(own), wanted_(wanted) {
    for (const auto& b : module.named_buffers()) buffers_.emplace(b.name, b.value);
  }

  std::optional<std::string> visit(Node* node) const {
    if (const auto index = argument(node, "dtype")) {
      const auto dtype = jit::toIValue(node->input(*index));
      if (dtype && dtype->isInt() && dtype->toInt() == static_cast<std::int64_t>(own_))
        return fmt::format("{} asks for {}", at_node(node), dtype_name(own_));
      if (dtype && dtype->isNone() && own_ == at::kFloat && makes_floats(node))
        return fmt::format("{} makes {} whatever the parameters are", at_node(node), dtype_name(own_));
    }
    for (Value* input : node->inputs())
      if (const auto reason = visit_input(input)) return fmt::format("{} reads {}", at_node(node), *reason);
    return std::nullopt;
  }

 private:
  /// A factory that falls back on the default dtype.
  static bool makes_floats(const Node* node) {
    if (is_op(node, {"zeros", "ones", "empty", "eye", "rand", "randn", "linspace", "logspace"})) return true;
    if (!is_op(node, {"full", "arange"})) return false;
    for (const Value* input : node->inputs()) {
      const auto constant = jit::toIValue(input);
      if (constant && constant->isDouble()) return true;
    }
    return false;
  }

  std::optional<std::string> visit_input(Value* input) const {
    if (const auto path = attribute_path(input)) {
      const auto buffer = buffers_.find(*path);
      return buffer == buffers_.end() ? std::nullopt : visit_tensor(buffer->second, "the buffer " + *path);
    }
    const auto constant = jit::toIValue(input);
    if (!constant) return std::nullopt;
    if (constant->isTensor()) return visit_tensor(constant->toTensor(), "a constant");
    if (constant->isDouble() && std::isfinite(constant->toDouble()) &&
        std::abs(constant->toDouble()) > largest(wanted_))
      return fmt::format("the number {}, which {} cannot hold", constant->toDouble(), dtype_name(wanted_));
    return std::nullopt;
  }

  std::optional<std::string> visit_tensor(const at::Tensor& tensor, const std::string& what) const {
    if (!tensor.defined() || tensor.scalar_type() != own_) return std::nullopt;
    // One number does not decide the dtype of a result, but is used as it is.
    if (tensor.dim() == 0 && at::equal(tensor, tensor.to(wanted_).to(own_))) return std::nullopt;
    return fmt::format("{} in {}", what, dtype_name(own_));
  }

  std::map<std::string, at::Tensor> buffers_;
  const at::ScalarType own_, wanted_;
};

}  // namespace

std::optional<std::string> fixed_to_dtype(jit::Graph& graph, const jit::Module& module, at::ScalarType own,
                                          at::ScalarType wanted) {
  const Search search(module, own, wanted);
  std::optional<std::string> reason;
  for_each_node(graph.block(), [&](Node* node, int) {
    if (!reason) reason = search.visit(node);
  });
  return reason;
}

}  // namespace sinkscope
