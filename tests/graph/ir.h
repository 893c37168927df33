#pragma once
// IR text in, found attention out.

#include <torch/csrc/jit/ir/irparser.h>

#include <memory>
#include <string>
#include <unordered_map>

#include "graph/find_attention.h"

namespace sinkscope::ir {

inline std::shared_ptr<torch::jit::Graph> graph_of(const std::string& text) {
  auto graph = std::make_shared<torch::jit::Graph>();
  std::unordered_map<std::string, torch::jit::Value*> values;
  torch::jit::parseIR(text, graph.get(), values);
  for (const auto& [name, value] : values) value->setDebugName(name);  // the parser names inputs only
  return graph;
}

/// A graph of queries, keys, values, a float mask, a bool mask and a vector of sink logits around `body`, which ends
/// with the value %o. Constants: %none %false %true %one %two %three %last %second %third %float %scale %cap %fill.
inline std::shared_ptr<torch::jit::Graph> with_body(const std::string& body) {
  return graph_of(R"(
graph(%q : Tensor, %k : Tensor, %v : Tensor, %mask : Tensor, %bool : Tensor, %sinks : Tensor, %shape : int[]):
  %none : NoneType = prim::Constant()
  %false : bool = prim::Constant[value=0]()
  %true : bool = prim::Constant[value=1]()
  %zero : int = prim::Constant[value=0]()
  %one : int = prim::Constant[value=1]()
  %two : int = prim::Constant[value=2]()
  %three : int = prim::Constant[value=3]()
  %last : int = prim::Constant[value=-1]()
  %second : int = prim::Constant[value=-2]()
  %third : int = prim::Constant[value=-3]()
  %float : int = prim::Constant[value=6]()
  %scale : float = prim::Constant[value=0.125]()
  %cap : float = prim::Constant[value=30.]()
  %fill : float = prim::Constant[value=-10000.]()
  %drop : float = prim::Constant[value=0.]()
)" + body + "\n  return (%o)\n");
}

/// The one site of a graph; `reason` of the first softmax left alone if there is none.
struct Found {
  std::shared_ptr<torch::jit::Graph> graph;
  FoundAttention attention;
  const Site& site() const { return attention.sites.at(0); }
  std::string name(torch::jit::Value* value) const { return value == nullptr ? "" : value->debugName(); }
};

inline Found find(const std::string& body) {
  Found found;
  found.graph = with_body(body);
  found.attention = find_attention(*found.graph);
  return found;
}

}  // namespace sinkscope::ir
