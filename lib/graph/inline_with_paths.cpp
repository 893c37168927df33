#include "graph/inline_with_paths.h"

#include <fmt/format.h>
#include <torch/csrc/jit/passes/inliner.h>
#include <torch/csrc/jit/runtime/graph_executor.h>

#include <map>
#include <optional>
#include <sstream>
#include <unordered_map>

#include "base/error.h"
#include "graph/fold_settings.h"
#include "graph/module_path.h"
#include "graph/walk.h"

namespace sinkscope {
namespace {

namespace jit = torch::jit;
using jit::Block;
using jit::Graph;
using jit::Node;
using jit::Value;
using Paths = std::unordered_map<Value*, std::string>;

/// A module in a graph that is being inlined.
struct Caller {
  std::string path, called_as;
};

class Inliner {
 public:
  Inliner(const jit::Module& root, const std::set<std::string>& marked) : root_(root), marked_(marked) {}

  void run(Block* block, const Paths& known, const Caller& caller = {}) {
    for (auto it = block->nodes().begin(); it != block->nodes().end();) {
      Node* n = *it++;  // advance first: n may be destroyed below
      for (Block* inner : n->blocks()) run(inner, known, caller);
      const bool is_method = n->kind() == c10::prim::CallMethod;
      if (is_method || n->kind() == c10::prim::CallFunction) inline_call(n, is_method, known, caller);
    }
  }

  std::vector<ModuleCall> calls;

 private:
  /// Dotted path of the module object `v`. Unlike an InlinedCallStack it keeps container levels such as ModuleList.
  static std::string path_of(Value* v, const Paths& known) {
    if (const auto it = known.find(v); it != known.end()) return it->second;
    Node* n = v->node();
    if (n->kind() != c10::prim::GetAttr) return "?";
    return join_path(path_of(n->input(0), known), n->s(c10::attr::name));
  }

  /// Modules that the caller hands over: itself first, then, after tracing, those that others share.
  static Paths modules_of(Graph& body, Node* call, const Paths& known) {
    Paths paths;
    for (std::size_t i = 0; i < call->inputs().size(); ++i)
      if (call->input(i)->type()->is_module()) paths[body.inputs()[i]] = path_of(call->input(i), known);
    return paths;
  }

  /// Under which path `caller` calls a method of the module `path`: of a module that is not its own, of the same name.
  static std::string called_as(const std::string& path, const Caller& caller) {
    if (!contains(caller.path, path)) return join_path(caller.called_as, last_of(path));
    const std::string below = path.substr(caller.path.size());  // with the dot, unless the caller is the root
    return caller.path.empty() ? below : caller.called_as + below;
  }

  static void set_scope(Block* block, const Caller& module) {
    for (Node* n : block->nodes()) {
      if (n->scope()->isRoot()) {
        auto scope = c10::make_intrusive<jit::Scope>();
        if (module.called_as != module.path) scope = scope->push(c10::Symbol::scope(module.called_as));
        n->setScope(scope->push(c10::Symbol::scope(module.path)));
      }
      for (Block* inner : n->blocks()) set_scope(inner, module);
    }
  }

  /// The marked module of which a call of `path` is a call or, where nothing calls the module itself, a part.
  std::optional<std::string> block_of(const std::string& path) const {
    for (std::string at = path;; at = parent_of(at)) {
      if (at.empty() || running_.count(at) > 0) return std::nullopt;
      if (marked_.count(at) > 0) return at;
    }
  }

  /// Number of the call that begins, or goes on, with a call of `path`.
  std::int64_t number_of(const std::string& block, const std::string& path) {
    if (path != block) {
      const auto [open, fresh] = open_.try_emplace(block);
      if (!fresh && open->second.parts.insert(path).second) return open->second.call;
      open->second = {static_cast<std::int64_t>(calls.size()), {path}};
    }
    calls.push_back({block, path != block});
    return static_cast<std::int64_t>(calls.size()) - 1;
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

  void inline_call(Node* n, bool is_method, const Paths& known, const Caller& caller) {
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
    Caller module = caller;
    std::optional<std::string> block;
    if (is_method) {
      module.path = path_of(n->input(0), known);
      module.called_as = called_as(module.path, caller);
      block = block_of(module.called_as);
    } else {
      n->removeInput(0);
    }
    const Paths body_known = modules_of(*body, n, known);
    const std::int64_t call = block ? number_of(*block, module.called_as) : -1;
    if (block) running_.insert(*block);
    run(body->block(), body_known, module);
    if (block) running_.erase(*block);
    if (is_method) set_scope(body->block(), module);

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

  static Value* marked_output(Graph& graph, Value* out, std::int64_t call) {
    if (is_tensor(out)) return marker(graph, "sinkscope::block_output", out, {call, 0});
    if (out->type()->kind() != c10::TypeKind::TupleType) return out;
    std::vector<Value*> elements;
    std::int64_t element = 0;
    for (Value* value : jit::createTupleUnpack(out))
      elements.push_back(is_tensor(value) ? marker(graph, "sinkscope::block_output", value, {call, element++}) : value);
    const auto type = out->type()->expect<c10::TupleType>();
    return graph.insertNode(graph.createTuple(elements, type->schema() != nullptr ? type : nullptr))->output();
  }

  const jit::Module& root_;
  const std::set<std::string>& marked_;
  /// The parts that the call of a marked module consists of so far.
  struct OpenCall {
    std::int64_t call = 0;
    std::set<std::string> parts;
  };
  std::map<std::string, OpenCall> open_;
  std::set<std::string> running_;  // marked modules that are being inlined
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
