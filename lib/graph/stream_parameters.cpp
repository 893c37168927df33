#include "graph/stream_parameters.h"

#include <map>

#include "graph/attribute_path.h"
#include "graph/walk.h"

namespace sinkscope {
namespace {

namespace jit = torch::jit;
using jit::Block;
using jit::Graph;
using jit::Node;
using jit::Value;

class Streaming {
 public:
  Streaming(Graph& graph, std::int64_t stream, const std::set<std::string>& parameters)
      : graph_(graph), stream_(stream), parameters_(parameters) {}

  void rewrite(Block* block) {
    for (auto it = block->nodes().begin(); it != block->nodes().end();) {
      Node* node = *it++;
      fetch_inputs(node);
      for (Block* inner : node->blocks()) rewrite(inner);
    }
    fetch_inputs(block->return_node());
  }

  /// The reads that nothing uses any more would keep what they read.
  void remove_unused_reads() {
    for_each_node(graph_.block(), [](Node* node, int) {
      if (node->kind() == c10::prim::GetAttr && !node->hasUses() && is_tensor(node->output())) node->destroy();
    });
  }

  std::vector<std::string> plan;

 private:
  void fetch_inputs(Node* node) {
    std::map<Value*, Value*> fetched;  // a node that uses a parameter twice reads it once
    for (std::size_t i = 0; i < node->inputs().size(); ++i) {
      Value* input = node->input(i);
      if (!is_tensor(input)) continue;
      const auto path = attribute_path(input);
      if (!path || !parameters_.contains(*path)) continue;
      Value*& value = fetched[input];
      if (value == nullptr) value = fetch(node, input, *path);
      node->replaceInput(i, value);
    }
  }

  Value* fetch(Node* user, Value* parameter, const std::string& path) {
    const jit::WithInsertPoint before(user);
    const auto step = static_cast<std::int64_t>(plan.size());
    Node* node = graph_.create(c10::Symbol::fromQualString("sinkscope::fetch_parameter"),
                               {graph_.insertConstant(stream_), graph_.insertConstant(step)}, 1);
    node->output()->setType(parameter->type());
    node->copyMetadata(parameter->node());
    graph_.insertNode(node);
    plan.push_back(path);
    return node->output();
  }

  Graph& graph_;
  const std::int64_t stream_;
  const std::set<std::string>& parameters_;
};

}  // namespace

std::vector<std::string> stream_parameters(Graph& graph, std::int64_t stream, const std::set<std::string>& parameters) {
  Streaming streaming(graph, stream, parameters);
  streaming.rewrite(graph.block());
  streaming.remove_unused_reads();
  graph.lint();
  return std::move(streaming.plan);
}

}  // namespace sinkscope
