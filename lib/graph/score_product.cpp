#include "graph/score_product.h"

#include <algorithm>
#include <unordered_set>

#include "graph/walk.h"

namespace sinkscope {
namespace {

namespace jit = torch::jit;
using jit::Node;
using jit::Value;

struct Search {
  std::unordered_set<Value*> seen;
  std::vector<std::pair<Node*, Value*>> way;  ///< from the scores to where the search is: a node and the input taken
  std::vector<ScoreProduct> found;
};

/// One for each pair of free dims that the way leaves whole.
void add(const Product& product, Search& search) {
  const bool left_depends = depends_on_input(product.left.value), right_depends = depends_on_input(product.right.value);
  for (auto left = product.left.free.rbegin(); left != product.left.free.rend(); ++left)
    for (auto right = product.right.free.rbegin(); right != product.right.free.rend(); ++right) {
      ScoreProduct found{product,      *left,        *right,       {left->result, right->result},
                         product.rank, left_depends, right_depends};
      const bool arrives = std::all_of(search.way.rbegin(), search.way.rend(), [&](const auto& step) {
        return carry_axes(step.first, step.second, found.axes, found.rank);
      });
      if (arrives) search.found.push_back(found);
    }
}

void search_back(Value* value, Search& search) {
  if (!is_tensor(value) || !search.seen.insert(value).second) return;
  Node* node = value->node();
  if (const auto product = product_of(node)) return add(*product, search);
  if (node->kind() == c10::prim::If) {  // a division that asks for the dtype first, as a traced `/` may become
    for (jit::Block* branch : node->blocks()) search_back(branch->outputs()[value->offset()], search);
    return;
  }
  for (Value* input : node->inputs()) {
    Axes axes;
    int rank = 0;
    if (!is_tensor(input) || !carry_axes(node, input, axes, rank)) continue;
    search.way.emplace_back(node, input);
    search_back(input, search);
    search.way.pop_back();
  }
}

}  // namespace

std::vector<ScoreProduct> score_products_behind(Value* scores) {
  Search search;
  search_back(scores, search);
  std::stable_partition(search.found.begin(), search.found.end(),
                        [](const ScoreProduct& p) { return p.of_activations(); });
  return search.found;
}

std::string origin_of(Value* scores) {
  Value* at = scores;
  Axes axes;
  for (int rank = 0; !at->node()->inputs().empty() && is_tensor(at->node()->input(0)) &&
                     carry_axes(at->node(), at->node()->input(0), axes, rank);
       axes = {})
    at = at->node()->input(0);
  if (at->node()->kind() == c10::prim::Param) return "an input of the model";
  if (at->node()->kind() == c10::prim::GetAttr) return "a parameter";
  return at->node()->kind().toQualString();
}

}  // namespace sinkscope
