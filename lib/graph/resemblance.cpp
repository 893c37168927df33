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
  return is_softmax(node) || is_op(node, {"log_softmax", "_log_softmax", "sigmoid", "sigmoid_"});
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

/// Rows of a parameter that the input chooses: weights of experts.
bool is_chosen_parameter(Value* value) {
  while (is_op(value->node(), {"index", "index_select", "gather", "transpose", "t", "permute", "to", "contiguous",
                               "view", "reshape", "unsqueeze", "squeeze"}))
    value = value->node()->input(0);
  return value->node()->kind() == c10::prim::GetAttr;
}

bool is_activation(Value* value) {
  return !is_parameter(value) && !is_chosen_parameter(value) && depends_on_input(value);
}

/// Two tensors that the input decides, multiplied and summed over a dim.
bool multiplies_activations(Node* node) {
  if (!is_op(node, {"matmul", "bmm", "baddbmm", "einsum"})) return false;
  std::vector<Value*> operands = tensors_into(node, 0);
  if (is_op(node, {"baddbmm"})) operands.erase(operands.begin());  // what is added
  int activations = 0;
  for (Value* operand : operands) activations += is_activation(operand) ? 1 : 0;
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

/// Operators that make other features of features, or choose: no attention weights come out of them.
bool makes_features(const Node* node) {
  const std::string_view name = op_name(node);
  return name.find("linear") != std::string_view::npos || name.find("conv") != std::string_view::npos ||
         is_op(node, {"addmm", "mm", "matmul", "bmm", "baddbmm", "einsum", "lstm", "gru", "topk", "sort",
                      "_native_multi_head_attention", "_transformer_encoder_layer_fwd"});
}

/// Of an operator that selects, the tensor that it selects from.
std::vector<Value*> values_into(Node* node, std::size_t output) {
  if (is_op(node, {"index", "index_select", "gather", "masked_fill", "masked_fill_"})) return {node->input(0)};
  return tensors_into(node, output);
}

}  // namespace

bool resembles_attention_without_softmax(Node* node, const std::unordered_set<Node*>& measured) {
  if (measured.count(node) > 0 || !multiplies_activations(node)) return false;
  std::vector<Value*> stack = tensors_into(node, 0);
  std::unordered_set<Value*> seen;
  while (!stack.empty()) {
    Value* at = stack.back();
    stack.pop_back();
    Node* made_by = at->node();
    if (!seen.insert(at).second || is_border(made_by) || is_normaliser(made_by)) continue;
    if (multiplies_activations(made_by)) {
      if (measured.count(made_by) == 0) return true;
      continue;
    }
    if (makes_features(made_by)) continue;
    for (Value* input : values_into(made_by, at->offset())) stack.push_back(input);
  }
  return false;
}

bool resembles_attention(Value* scores, Value* probabilities) {
  return has_score_product_behind(scores) && meets_activations(probabilities);
}

}  // namespace sinkscope
