#include "graph/insert_taps.h"

#include <fmt/format.h>
#include <torch/csrc/jit/passes/dead_code_elimination.h>

#include <optional>

#include "base/error.h"
#include "graph/walk.h"

namespace sinkscope {
namespace {

namespace jit = torch::jit;
using jit::Graph;
using jit::Node;
using jit::Value;

Node* create(Graph& graph, const char* op, const std::vector<Value*>& inputs, Value* like) {
  Node* node = graph.create(c10::Symbol::fromQualString(op), inputs, 1);
  node->output()->setType(like->type());
  return node;
}

/// A call and the operator that is to take its place. Both stay until every site is observed: a later site may hold the
/// output of an earlier call as its keys or values.
struct Replacement {
  Node *call = nullptr, *observed = nullptr;
};

/// Puts before the call `op`, which takes the call's own arguments, then the KV heads and the number of the site.
Replacement observe_call(Graph& graph, const Site& site, const char* op, std::initializer_list<const char*> arguments) {
  Node* node = site.node;
  const jit::WithInsertPoint before(node);
  std::vector<Value*> inputs;
  for (const char* name : arguments) inputs.push_back(node->namedInput(name));
  if (site.key != nullptr) inputs.insert(inputs.end(), {site.key, site.value});
  inputs.push_back(graph.insertConstant(static_cast<std::int64_t>(index(site.info.id))));
  Node* observed = create(graph, op, inputs, node->output());
  observed->copyMetadata(node);
  graph.insertNode(observed);
  return {node, observed};
}

/// Routes the output of `node` through the tap.
void tap_output(Node* node, Node* tap, Graph& graph) {
  Value* output = node->output(0);
  tap->copyMetadata(node);
  graph.insertNode(tap);
  output->replaceAllUsesAfterNodeWith(tap, tap->output());
}

void observe_weights(Graph& graph, const Site& site) {
  Node* node = site.node;
  const jit::WithInsertPoint after(node->next());
  std::vector<MatrixPart> keys{{site.key, site.key_axes}};
  keys.insert(keys.end(), site.more_keys.begin(), site.more_keys.end());
  std::vector<std::int64_t> dims, other_rows;
  std::vector<Value*> key_values;
  for (const Axes& axes : {site.output_axes, site.weights_axes, site.scores_axes, site.value_axes})
    dims.insert(dims.end(), {axes.rows, axes.columns});
  for (const MatrixPart& key : keys) {
    key_values.push_back(key.value);
    dims.insert(dims.end(), {key.axes.rows, key.axes.columns});
  }
  if (site.other_rows) other_rows = {site.other_rows->output, site.other_rows->weights, site.other_rows->scores};
  Node* key_list = graph.insertNode(graph.createList(c10::TensorType::get(), key_values));
  Value* with_sink = site.with_sink != nullptr ? site.with_sink : graph.insertConstant(c10::IValue());
  const std::vector<Value*> inputs{node->output(),
                                   site.weights,
                                   site.scores,
                                   site.value,
                                   key_list->output(),
                                   with_sink,
                                   graph.insertConstant(dims),
                                   graph.insertConstant(other_rows),
                                   graph.insertConstant(static_cast<std::int64_t>(site.softmax_dim)),
                                   graph.insertConstant(site.info.row_sum != "free"),
                                   graph.insertConstant(static_cast<std::int64_t>(index(site.info.id)))};
  tap_output(node, create(graph, "sinkscope::observe_weights", inputs, node->output()), graph);
}

/// The operator stays and produces the output; its hidden states and projections are handed over beside it.
void observe_projected(Graph& graph, const Site& site) {
  Node* node = site.node;
  const jit::WithInsertPoint after(node->next());
  const bool is_layer = is_op(node, {"_transformer_encoder_layer_fwd"});
  Value* none = graph.insertConstant(c10::IValue());
  const auto argument = [&](const char* of_layer, const char* of_attention) {
    return is_layer ? (of_layer == nullptr ? none : node->namedInput(of_layer))
                    : (of_attention == nullptr ? none : node->namedInput(of_attention));
  };
  Value* norm_first = is_layer ? node->namedInput("norm_first") : graph.insertConstant(false);
  Value* eps = is_layer ? node->namedInput("eps") : graph.insertConstant(0.0);
  const std::vector<Value*> inputs{node->output(0),
                                   argument("src", "query"),
                                   argument("src", "key"),
                                   argument("src", "value"),
                                   argument("num_heads", "num_head"),
                                   node->namedInput("qkv_weight"),
                                   node->namedInput("qkv_bias"),
                                   norm_first,
                                   argument("norm_weight_1", nullptr),
                                   argument("norm_bias_1", nullptr),
                                   eps,
                                   node->namedInput("mask"),
                                   node->namedInput("mask_type"),
                                   graph.insertConstant(static_cast<std::int64_t>(index(site.info.id)))};
  tap_output(node, create(graph, "sinkscope::observe_projected", inputs, node->output(0)), graph);
}

std::optional<Replacement> observe(Graph& graph, const Site& site) {
  switch (site.form) {
    case SiteForm::sdpa:
      return observe_call(graph, site, "sinkscope::observe_sdpa",
                          {"query", "key", "value", "attn_mask", "dropout_p", "is_causal", "scale", "enable_gqa"});
    case SiteForm::fused_attention:
      return observe_call(graph, site, "sinkscope::observe_fused_attention",
                          {"query", "key", "value", "scale", "window", "chunk", "softcap", "sinks"});
    case SiteForm::materialised:
      observe_weights(graph, site);
      break;
    case SiteForm::projected:
      observe_projected(graph, site);
      break;
    case SiteForm::marked:
      return observe_call(graph, site, "sinkscope::observe_marked", {"weights", "probability"});
  }
  return std::nullopt;
}

void tap_stream(Graph& graph, const StreamPoint& stream) {
  Node* marker = stream.marker;
  const jit::WithInsertPoint before(marker);
  Value* id = graph.insertConstant(static_cast<std::int64_t>(index(stream.info.id)));
  Node* tap = create(graph, "sinkscope::tap_stream", {marker->input(0), id}, marker->output());
  tap->copyMetadata(marker);
  graph.insertNode(tap);
  marker->output()->replaceAllUsesWith(tap->output());
  marker->destroy();
}

}  // namespace

void remove_markers(FlatGraph& flat) {
  for_each_node(flat.graph->block(), [](Node* node, int) {
    if (op_name(node) != "sinkscope::block_input" && op_name(node) != "sinkscope::block_output") return;
    node->output()->replaceAllUsesWith(node->input(0));
    node->destroy();
  });
}

void insert_taps(FlatGraph& flat, const std::vector<Site>& sites, const std::vector<StreamPoint>& streams) {
  Graph& graph = *flat.graph;
  // Sites first: the values they hold may be outputs of markers, which the second step replaces.
  std::vector<Replacement> replacements;
  for (const Site& site : sites)
    if (const auto replacement = observe(graph, site)) replacements.push_back(*replacement);
  for (const Replacement& r : replacements) r.call->output()->replaceAllUsesWith(r.observed->output());
  for (const Replacement& r : replacements) r.call->destroy();
  for (const StreamPoint& stream : streams) tap_stream(graph, stream);
  remove_markers(flat);
  graph.lint();
}

void move_constants(Graph& graph, at::Device device) {
  for_each_node(graph.block(), [&](Node* node, int) {
    if (node->kind() != c10::prim::Constant) return;
    if (node->output()->type()->kind() == c10::TypeKind::DeviceObjType)
      node->s_(c10::attr::value, device.str());
    else if (node->hasAttribute(c10::attr::value) && node->kindOf(c10::attr::value) == jit::AttributeKind::t)
      node->t_(c10::attr::value, node->t(c10::attr::value).to(device));
  });
}

void reduce_logits(Graph& graph, KeptLogits keep) {
  // From the output back through casts, caps and scales to the linear map with a parameter.
  Value* value = graph.outputs().at(0);
  for (;;) {
    Node* node = value->node();
    if (node->kind() == c10::prim::TupleConstruct) {
      value = node->input(0);
    } else if (node->kind() == c10::prim::DictConstruct) {
      value = node->input(1);
    } else if (is_op(node, {"linear"}) || (is_op(node, {"matmul"}) && is_parameter(node->input(1)))) {
      break;
    } else if (is_op(node, {"to", "float", "mul", "div", "tanh", "contiguous", "slice"})) {
      value = node->input(0);
    } else {
      throw InputError(
          fmt::format("--logits: the output comes from {}, not from an unembedding (a linear map). "
                      "Leave --logits at `all`.",
                      op_name(node)));
    }
  }
  Node* unembedding = value->node();
  Value* hidden = unembedding->input(0);
  if (keep == KeptLogits::none) {
    graph.eraseOutput(0);
    graph.registerOutput(hidden);
  } else {
    const jit::WithInsertPoint before(unembedding);
    Value* last =
        graph.insert(c10::aten::slice, {hidden, std::int64_t{1}, std::int64_t{-1}, c10::IValue(), std::int64_t{1}});
    unembedding->replaceInput(0, last);
  }
  jit::EliminateDeadCode(graph.block());
  graph.lint();
}

}  // namespace sinkscope
