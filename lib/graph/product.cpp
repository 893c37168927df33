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

/// The one letter that the result lacks; 0 if there is none, several, or one that only one side has.
char summed_letter(const Letters& left, const Letters& right, const Letters& out) {
  char inner = 0;
  for (const char c : left + right) {
    if (has(out, c) || c == inner) continue;
    if (inner != 0 || !has(left, c) || !has(right, c)) return 0;
    inner = c;
  }
  return inner;
}

Operand operand(Value* value, const Letters& own, const Letters& other, const Letters& out, char inner) {
  Operand side{value, dim_of(own, inner), {}};
  for (const char c : out)
    if (has(own, c) && !has(other, c)) side.free.push_back({dim_of(own, c), dim_of(out, c)});
  return side;
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
  const char inner = summed_letter(left, right, out);
  if (inner == 0) return std::nullopt;
  Product product{node, operand(list->input(0), left, right, out, inner),
                  operand(list->input(1), right, left, out, inner), has_ellipsis ? 0 : static_cast<int>(out.size())};
  const std::size_t left_free = product.left.free.size(), right_free = product.right.free.size();
  if (left_free == 0 || right_free == 0 || (left_free > 1 && right_free > 1)) return std::nullopt;
  return product;
}

/// Operators whose result holds none of the values of their inputs.
bool forgets_values(const Node* node) {
  return is_op(node, {"size", "dim", "len", "zeros_like", "ones_like", "full_like", "empty_like", "rand_like",
                      "new_zeros", "new_ones", "new_full", "new_empty", "numel"}) ||
         node->kind() == c10::prim::dtype || node->kind() == c10::prim::device || node->kind() == c10::prim::GetAttr;
}

}  // namespace

std::optional<Product> product_of(Node* node) {
  if (is_op(node, {"einsum"})) return einsum(node);
  if (!is_op(node, {"matmul", "bmm", "baddbmm"})) return std::nullopt;
  const std::size_t first = is_op(node, {"baddbmm"}) ? 1 : 0;
  return Product{node,
                 {node->input(first), -1, {{-2, -2}}},
                 {node->input(first + 1), -2, {{-1, -1}}},
                 is_op(node, {"matmul"}) ? 0 : 3};
}

std::optional<Product> product_of_activations(Node* node) {
  const std::optional<Product> product = product_of(node);
  if (!product || is_parameter(product->left.value) || is_parameter(product->right.value)) return std::nullopt;
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
