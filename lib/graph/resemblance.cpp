#include "graph/resemblance.h"

#include <unordered_set>
#include <vector>

#include "graph/product.h"
#include "graph/walk.h"

namespace sinkscope {
namespace {

namespace jit = torch::jit;
using jit::Node;
using jit::Value;

bool is_normaliser(const Node* node) {
  return is_op(node, {"softmax", "_softmax", "log_softmax", "_log_softmax", "sigmoid", "sigmoid_"});
}

/// Where another part of the model begins.
bool is_border(const Node* node) {
  if (is_op(node, {"layer_norm", "native_layer_norm", "rms_norm", "group_norm", "batch_norm", "embedding",
                   "scaled_dot_product_attention", "sinkscope::fused_attention", "sinkscope::block_input",
                   "sinkscope::block_output", "argmax", "multinomial", "cross_entropy_loss"}))
    return true;
  if (!is_op(node, {"mul"})) return false;
  for (const Value* input : node->inputs())  // an RMSNorm written out
    if (is_op(input->node(), {"rsqrt"})) return true;
  return false;
}

bool holds_tensors(const Value* value) {
  if (const auto list = value->type()->cast<c10::ListType>())
    return list->getElementType()->isSubtypeOf(*c10::TensorType::get());
  return value->type()->kind() == c10::TypeKind::TupleType;
}

/// Tensors that result `output` of `node` is made of, those in lists and tuples too.
std::vector<Value*> tensors_into(Node* node, std::size_t output) {
  std::vector<Value*> tensors;
  for (Value* input : node->inputs()) {
    if (is_tensor(input)) tensors.push_back(input);
    if (!holds_tensors(input)) continue;
    for (Value* element : input->node()->inputs())
      if (is_tensor(element)) tensors.push_back(element);
  }
  if (node->kind() == c10::prim::If)
    for (jit::Block* branch : node->blocks()) tensors.push_back(branch->outputs()[output]);
  return tensors;
}

/// Two tensors that the input decides, multiplied and summed over a dim.
bool multiplies_activations(Node* node) {
  if (!is_op(node, {"matmul", "bmm", "baddbmm", "einsum"})) return false;
  std::vector<Value*> operands = tensors_into(node, 0);
  if (is_op(node, {"baddbmm"})) operands.erase(operands.begin());  // what is added
  int activations = 0;
  for (Value* operand : operands) activations += !is_parameter(operand) && depends_on_input(operand) ? 1 : 0;
  return activations >= 2;
}

/// Whether `value` is made of probabilities, before any product.
bool comes_from_normaliser(Value* value) {
  std::vector<Value*> stack{value};
  std::unordered_set<Value*> seen;
  while (!stack.empty()) {
    Value* at = stack.back();
    stack.pop_back();
    Node* node = at->node();
    if (!seen.insert(at).second || is_border(node)) continue;
    if (is_normaliser(node)) return true;
    if (multiplies_activations(node)) continue;
    for (Value* input : tensors_into(node, at->offset())) stack.push_back(input);
  }
  return false;
}

/// A product whose operands are no probabilities: of queries and keys, not of weights and values.
bool has_score_product_behind(Value* scores) {
  std::vector<Value*> stack{scores};
  std::unordered_set<Value*> seen;
  while (!stack.empty()) {
    Value* at = stack.back();
    stack.pop_back();
    Node* node = at->node();
    if (!seen.insert(at).second || is_border(node) || is_normaliser(node)) continue;
    const std::vector<Value*> inputs = tensors_into(node, at->offset());
    if (!multiplies_activations(node)) {
      stack.insert(stack.end(), inputs.begin(), inputs.end());
      continue;
    }
    bool holds_weights = false;
    for (Value* input : inputs) holds_weights = holds_weights || comes_from_normaliser(input);
    if (!holds_weights) return true;
  }
  return false;
}

bool meets_activations(Value* probabilities) {
  std::vector<Value*> stack{probabilities};
  std::unordered_set<Value*> seen;
  while (!stack.empty()) {
    Value* at = stack.back();
    stack.pop_back();
    if (!seen.insert(at).second) continue;
    for (const jit::Use& use : at->uses()) {
      Node* user = use.user;
      if (is_border(user) || is_normaliser(user)) continue;
      if (multiplies_activations(user)) return true;
      if (user->kind() == c10::prim::Return) {
        Node* owner = user->owningBlock()->owningNode();
        if (owner != nullptr && owner->kind() == c10::prim::If) stack.push_back(owner->output(use.offset));
        continue;
      }
      for (Value* output : user->outputs())
        if (is_tensor(output) || holds_tensors(output)) stack.push_back(output);
    }
  }
  return false;
}

}  // namespace

bool resembles_attention(Value* scores, Value* probabilities) {
  return has_score_product_behind(scores) && meets_activations(probabilities);
}

}  // namespace sinkscope
