#include "graph/inline_with_paths.h"

#include <fmt/format.h>
#include <torch/csrc/jit/passes/inliner.h>
#include <torch/csrc/jit/runtime/graph_executor.h>

#include <map>
#include <sstream>
#include <unordered_map>

#include "base/error.h"
#include "graph/fold_settings.h"

namespace sinkscope {
namespace {

namespace jit = torch::jit;
using jit::Block;
using jit::Graph;
using jit::Node;
using jit::Value;
using Paths = std::unordered_map<Value*, std::string>;

class Inliner {
 public:
  Inliner(const jit::Module& root, const std::set<std::string>& marked) : root_(root), marked_(marked) {}

  void run(Block* block, const Paths& known) {
    for (auto it = block->nodes().begin(); it != block->nodes().end();) {
      Node* n = *it++;  // advance first: n may be destroyed below
      for (Block* inner : n->blocks()) run(inner, known);
      const bool is_method = n->kind() == c10::prim::CallMethod;
      if (is_method || n->kind() == c10::prim::CallFunction) inline_call(n, is_method, known);
    }
  }

  std::vector<ModuleCall> calls;

 private:
  /// Dotted path of the module object `v`. Unlike an InlinedCallStack it keeps container levels such as ModuleList.
  static std::string path_of(Value* v, const Paths& known) {
    if (const auto it = known.find(v); it != known.end()) return it->second;
    Node* n = v->node();
    if (n->kind() != c10::prim::GetAttr) return "?";
    const std::string parent = path_of(n->input(0), known);
    const std::string& name = n->s(c10::attr::name);
    return parent.empty() ? name : parent + "." + name;
  }

  static void set_scope(Block* block, const std::string& path) {
    for (Node* n : block->nodes()) {
      if (n->scopeName().empty()) n->setScope(c10::make_intrusive<jit::Scope>()->push(c10::Symbol::scope(path)));
      for (Block* inner : n->blocks()) set_scope(inner, path);
    }
  }

  /// An interface says which methods a module has, not which module it is; the object itself does.
  void resolve_interface(Value* object, const Paths& known) const {
    if (object->type()->kind() != c10::TypeKind::InterfaceType) return;
    jit::Module at = root_;
    std::istringstream path(path_of(object, known));
    for (std::string name; std::getline(path, name, '.');) {
      if (!at.hasattr(name) || !at.attr(name).isModule()) return;
      at = at.attr(name).toModule();
    }
    object->setType(at.type());
  }

  void inline_call(Node* n, bool is_method, const Paths& known) {
    if (is_method) resolve_interface(n->input(0), known);
    // Must precede removeInput(0): the callee is read from input 0. Null for calls through an interface type.
    jit::GraphFunction* callee = jit::tryToGraphFunction(n);
    if (callee == nullptr)
      throw InputError(
          fmt::format("the graph calls {} through an interface type, and which module is behind it is known only while "
                      "it runs. Trace the model instead of scripting it.",
                      is_method ? n->s(c10::attr::name) : "a function"));
    // A copy per call: scripted modules of one class share a single graph.
    const std::shared_ptr<Graph> body = callee->graph()->copy();
    Paths body_known;
    std::string path;
    std::int64_t call = -1;
    if (is_method) {
      path = path_of(n->input(0), known);
      body_known[body->inputs()[0]] = path;
      if (marked_.count(path) > 0) {
        call = static_cast<std::int64_t>(calls.size());
        calls.push_back({path, ordinals_[path]++});
      }
    } else {
      n->removeInput(0);
    }
    run(body->block(), body_known);
    if (is_method) set_scope(body->block(), path);

    Graph& graph = *n->owningGraph();
    const jit::WithInsertPoint before(n);
    std::vector<Value*> inputs(n->inputs().begin(), n->inputs().end());
    if (call >= 0)
      for (std::size_t i = 1; i < inputs.size(); ++i) inputs[i] = marked_input(graph, inputs[i], call, i);
    const std::vector<Value*> outputs = jit::insertGraph(graph, *body, inputs);
    for (std::size_t i = 0; i < outputs.size(); ++i)
      n->outputs()[i]->replaceAllUsesWith(call >= 0 ? marked_output(graph, outputs[i], call) : outputs[i]);
    n->destroy();
  }

  static bool is_tensor(Value* v) { return v->type()->isSubtypeOf(*c10::TensorType::get()); }

  static Value* marker(Graph& graph, const char* op, Value* x, std::initializer_list<std::int64_t> numbers) {
    std::vector<Value*> inputs{x};
    for (const std::int64_t number : numbers) inputs.push_back(graph.insertConstant(number));
    Node* node = graph.create(c10::Symbol::fromQualString(op), inputs, 1);
    node->output()->setType(x->type());
    graph.insertNode(node);
    return node->output();
  }

  static Value* marked_input(Graph& graph, Value* x, std::int64_t call, std::size_t argument) {
    return is_tensor(x) ? marker(graph, "sinkscope::block_input", x, {call, static_cast<std::int64_t>(argument)}) : x;
  }

  /// A block that returns a tuple hands on the residual stream as its first tensor.
  static Value* marked_output(Graph& graph, Value* out, std::int64_t call) {
    if (is_tensor(out)) return marker(graph, "sinkscope::block_output", out, {call});
    Node* tuple = out->node();
    if (tuple->kind() != c10::prim::TupleConstruct) return out;
    for (std::size_t i = 0; i < tuple->inputs().size(); ++i) {
      if (!is_tensor(tuple->input(i))) continue;
      const jit::WithInsertPoint before(tuple);
      tuple->replaceInput(i, marker(graph, "sinkscope::block_output", tuple->input(i), {call}));
      break;
    }
    return out;
  }

  const jit::Module& root_;
  const std::set<std::string>& marked_;
  std::map<std::string, std::int64_t> ordinals_;
};

/// A Python number that tracing recorded is a tensor without dims, which must not decide the dtype of a result: in the
/// tracer and after the optimiser it does not (wrapped number), after loading it would.
void mark_numbers(Block* block) {
  for (Node* node : block->nodes()) {
    for (Block* inner : node->blocks()) mark_numbers(inner);
    if (node->kind() != c10::prim::Constant || !node->hasAttribute(c10::attr::value) ||
        node->kindOf(c10::attr::value) != jit::AttributeKind::t)
      continue;
    const at::Tensor& number = node->t(c10::attr::value);
    if (number.dim() == 0 && (number.scalar_type() == at::kDouble || number.scalar_type() == at::kLong))
      number.unsafeGetTensorImpl()->set_wrapped_number(true);
  }
}

}  // namespace

FlatGraph inline_with_paths(const jit::Module& module, const std::set<std::string>& marked) {
  FlatGraph flat;
  flat.graph = module.get_method("forward").graph()->copy();
  Inliner inliner(module, marked);
  inliner.run(flat.graph->block(), {{flat.graph->inputs()[0], ""}});
  flat.calls = std::move(inliner.calls);
  fold_settings(flat.graph, module);
  mark_numbers(flat.graph->block());
  flat.graph->lint();
  return flat;
}

}  // namespace sinkscope
