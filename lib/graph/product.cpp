#include "graph/product.h"

#include <torch/csrc/jit/ir/constants.h>

#include <string>
#include <unordered_set>
#include <vector>

#include "graph/walk.h"

namespace sinkscope {
namespace {

namespace jit = torch::jit;
using jit::Node;
using jit::Value;

/// Dims of one operand or the result of an einsum, one letter each.
using Letters = std::string;

bool has(const Letters& letters, char c) { return letters.find(c) != Letters::npos; }

/// From the end: -1 is the last.
int dim_of(const Letters& letters, char c) {
  return static_cast<int>(letters.find(c)) - static_cast<int>(letters.size());
}

/// "a b, c d -> e f" without spaces, cut at the comma and the arrow; a leading "..." of all three is dropped, because
/// dims are counted from the end. Empty for anything else.
std::optional<std::vector<Letters>> letters_of(std::string equation, bool& has_ellipsis) {
  std::erase(equation, ' ');
  const auto comma = equation.find(','), arrow = equation.find("->");
  if (comma == std::string::npos || arrow == std::string::npos || equation.find(',', comma + 1) != std::string::npos)
    return std::nullopt;
  std::vector<Letters> parts{equation.substr(0, comma), equation.substr(comma + 1, arrow - comma - 1),
                             equation.substr(arrow + 2)};
  for (Letters& part : parts) {
    if (part.rfind("...", 0) == 0) part.erase(0, 3), has_ellipsis = true;
    if (has(part, '.')) return std::nullopt;
  }
  return parts;
}

std::optional<Product> einsum(Node* node) {
  const auto equation = jit::toIValue(node->input(0));
  Node* list = node->input(1)->node();
  if (!equation || !equation->isString() || list->kind() != c10::prim::ListConstruct || list->inputs().size() != 2)
    return std::nullopt;
  bool has_ellipsis = false;
  const auto parts = letters_of(equation->toStringRef(), has_ellipsis);
  if (!parts) return std::nullopt;
  const Letters &left = (*parts)[0], &right = (*parts)[1], &out = (*parts)[2];
  char inner = 0, left_free = 0, right_free = 0;
  for (const char c : left) {
    if (!has(out, c)) {
      if (!has(right, c) || inner != 0) return std::nullopt;
      inner = c;
    } else if (!has(right, c)) {
      left_free = c;  // several: those before the last are query heads of one KV head
    }
  }
  for (const char c : right) {
    if (!has(out, c) && c != inner) return std::nullopt;
    if (has(out, c) && !has(left, c)) {
      if (right_free != 0) return std::nullopt;
      right_free = c;
    }
  }
  if (inner == 0 || left_free == 0 || right_free == 0) return std::nullopt;
  Product product;
  product.node = node, product.left = list->input(0), product.right = list->input(1);
  product.left_free = dim_of(left, left_free), product.left_inner = dim_of(left, inner);
  product.right_free = dim_of(right, right_free), product.right_inner = dim_of(right, inner);
  product.out_left = dim_of(out, left_free), product.out_right = dim_of(out, right_free);
  product.rank = has_ellipsis ? 0 : static_cast<int>(out.size());
  return product;
}

/// Operators whose result holds none of the values of their inputs.
bool forgets_values(const Node* node) {
  return is_op(node, {"size", "dim", "len", "zeros_like", "ones_like", "full_like", "empty_like", "rand_like",
                      "new_zeros", "new_ones", "new_full", "new_empty", "numel"}) ||
         node->kind() == c10::prim::dtype || node->kind() == c10::prim::device || node->kind() == c10::prim::GetAttr;
}

}  // namespace

std::optional<Product> product_of_activations(Node* node) {
  std::optional<Product> product;
  if (is_op(node, {"einsum"})) {
    product = einsum(node);
  } else if (is_op(node, {"matmul", "bmm", "baddbmm"})) {
    const std::size_t first = is_op(node, {"baddbmm"}) ? 1 : 0;
    product = Product{.node = node, .left = node->input(first), .right = node->input(first + 1)};
    product->rank = is_op(node, {"matmul"}) ? 0 : 3;
  }
  if (!product || is_parameter(product->left) || is_parameter(product->right)) return std::nullopt;
  return product;
}

bool depends_on_input(Value* value) {
  std::vector<Value*> stack{value};
  std::unordered_set<Value*> seen{value};
  const auto visit = [&](Value* v) {
    if (seen.insert(v).second) stack.push_back(v);
  };
  while (!stack.empty()) {
    Node* node = stack.back()->node();
    Value* at = stack.back();
    stack.pop_back();
    for (Value* written : written_into(at)) visit(written);
    if (node->kind() == c10::prim::Param) {
      if (node->owningBlock() == node->owningGraph()->block()) {
        if (at->type()->kind() != c10::TypeKind::ClassType) return true;
      } else if (Node* owner = node->owningBlock()->owningNode(); owner != nullptr) {
        for (Value* input : owner->inputs()) visit(input);  // of a prim::Loop
      }
      continue;
    }
    if (forgets_values(node)) continue;
    for (Value* input : node->inputs()) visit(input);
    for (jit::Block* block : node->blocks())
      for (Value* output : block->outputs()) visit(output);
  }
  return false;
}

}  // namespace sinkscope
