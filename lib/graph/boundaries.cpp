#include "graph/boundaries.h"

#include <algorithm>
#include <iterator>

#include "graph/markers.h"
#include "graph/module_path.h"
#include "graph/terms.h"

namespace sinkscope {

using torch::jit::Node;
using torch::jit::Value;

bool is_lone(const BlockCall& block) { return !is_list_element(block.path); }

bool same_list(const BlockCall& a, const BlockCall& b) {
  return is_lone(a) == is_lone(b) && (is_lone(a) || parent_of(a.path) == parent_of(b.path));
}

bool meets(const std::unordered_set<Value*>& a, const std::unordered_set<Value*>& b) {
  return std::any_of(b.begin(), b.end(), [&](Value* value) { return a.count(value) > 0; });
}

namespace {

bool is_unsummed(const Terms& terms, Value* value) {
  return terms.all.count(value) > 0 && terms.summed.count(value) == 0;
}

/// What the call is given, as it sees it and as its caller does.
std::unordered_set<Value*> given(const BlockCall& block) {
  std::unordered_set<Value*> values;
  for (Node* input : block.inputs) values.insert({input->input(0), input->output()});
  return values;
}

std::vector<Node*> sums_in(const BlockCall& block) {
  const std::unordered_set<Value*> values = given(block);
  std::vector<Node*> sums;
  for (Node* output : block.last)
    if (meets(terms_of(output->input(0)).summed, values)) sums.push_back(output);
  return sums;
}

/// What `inputs` are and are made of. A block in no list may be the attention alone, without its projections: then also
/// what is projected.
std::unordered_set<Value*> states_of(const std::vector<Node*>& inputs, bool is_lone) {
  std::unordered_set<Value*> states;
  for (Node* input : inputs) {
    states.insert(input->output());
    states.merge(terms_of(input->input(0)).all);
  }
  if (is_lone)
    for (Value* term : std::vector<Value*>(states.begin(), states.end()))
      if (Value* before = projected(term->node())) states.merge(terms_of(before).all);
  return states;
}

/// The state that the first part of a block is given, or the module itself.
Value* state_in(const BlockCall& block, Value* sum) {
  std::vector<Node*> inputs;
  for (Node* input : block.inputs)
    if (input->isBefore(block.first.front())) inputs.push_back(input);
  return nearest_term(sum, states_of(inputs, is_lone(block)));
}

/// Whether a sum behind the block is the state, although the block hands on a sum itself: that is added, before `end`,
/// to what it was made of (x + block(norm(x))), or another result is added to it at once (x, residual: deferred).
bool adds_again(const Boundary& block, Node* output, const ResidualSum& sum, const Node* end) {
  Node* node = sum.sum->node();
  if (std::find(block.sums.begin(), block.sums.end(), output) != block.sums.end())
    return (end == nullptr || node->isBefore(end)) &&
           std::any_of(block.inputs.begin(), block.inputs.end(),
                       [&](Node* input) { return is_unsummed(terms_of(input->input(0)), sum.state); });
  return std::any_of(node->inputs().begin(), node->inputs().end(), [&](Value* operand) {
    const Terms terms = terms_of(operand);
    return std::any_of(block.sums.begin(), block.sums.end(),
                       [&](Node* other) { return is_unsummed(terms, other->output()); });
  });
}

/// Finds the sum behind the block. Tracing orders results by their use, so the first says nothing.
void find_outer(Boundary& block, const Node* end) {
  const std::unordered_set<Value*> states = states_of(block.inputs, is_lone(block));
  for (Node* output : block.last) {
    const auto sum = sum_with(output->output(), states, is_lone(block) ? Projections::pass : Projections::stop);
    if (!sum || !(block.sums.empty() || adds_again(block, output, *sum, end))) continue;
    block.outer = sum;
    block.state = state_in(block, sum->sum);
    return;
  }
}

/// Of several results that are sums that of the hidden state: it holds what left the block before, or for the first one
/// something that was computed (scores that are summed over the layers begin as zeros).
Node* result_of(const Boundary& block, const Boundary* before) {
  const auto holds_state = [&](Node* sum) {
    const std::unordered_set<Value*> terms = terms_of(sum->input(0)).all;
    if (before != nullptr && before->leaving != nullptr && !is_lone(block)) return terms.count(before->leaving) > 0;
    return std::any_of(block.inputs.begin(), block.inputs.end(), [&](Node* input) {
      return terms.count(input->output()) > 0 && is_contribution(input->input(0));
    });
  };
  if (block.sums.empty()) return block.last.front();
  const auto found = std::find_if(block.sums.begin(), block.sums.end(), holds_state);
  return found == block.sums.end() ? block.sums.front() : *found;
}

/// Additions between the sum behind a block and what leaves it.
std::optional<std::size_t> further_sums(const Boundary* block) {
  if (block == nullptr || !block->outer || block->leaving == nullptr) return std::nullopt;
  const Path path = path_to(block->leaving);
  return follow_sums(block->outer->sum, {nullptr, &path, std::nullopt, false}).sums;
}

/// Decides what leaves a block. `before`, `next`: its neighbours in the list, or null; `range`: to where any block
/// begins next.
void find_leaving(Boundary& block, const Boundary* before, const Boundary* next, Range range, StreamRemarks& remarks) {
  if (block.last.empty()) {
    remarks.unseen.push_back(block.path);
    return;
  }
  Value* sum = block.outer ? block.outer->sum : nullptr;
  if (sum == nullptr) {
    block.result = result_of(block, before);
    block.leaving = block.result->output();
    if (is_lone(block)) sum = block.leaving;
  }
  Value* later = block.leaving;
  if (sum != nullptr) {
    // The next block says what it is given; behind the last one as much is added as behind those before.
    Value* state = next != nullptr ? next->state : nullptr;
    range.sums = further_sums(before);
    range.post_norm = before != nullptr && before->leaving != nullptr && is_norm(before->leaving->node());
    later = state != nullptr && terms_of(state).all.count(sum) > 0 ? state : follow_sums(sum, range).state;
  }
  if (later == block.leaving) {
    if (block.sums.empty()) remarks.no_residual.push_back(block.path);
    return;
  }
  block.leaving = later;
  block.result = nullptr;
  if (!block.of_parts || later != sum) remarks.added_outside.push_back(block.path);
}

}  // namespace

std::vector<Boundary> find_boundaries(const FlatGraph& flat, std::vector<BlockCall> calls, StreamRemarks& remarks) {
  std::vector<Boundary> blocks(std::make_move_iterator(calls.begin()), std::make_move_iterator(calls.end()));
  const auto begin_behind = [&](std::size_t i) -> const Node* {
    for (++i; i < blocks.size(); ++i)
      if (!blocks[i].inputs.empty()) return blocks[i].inputs.front();
    return nullptr;
  };
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    blocks[i].sums = sums_in(blocks[i]);
    if (!blocks[i].last.empty()) find_outer(blocks[i], begin_behind(i));
  }
  const Path path = path_to(first_output(*flat.graph));
  for (auto block = blocks.begin(); block != blocks.end(); ++block) {
    const auto neighbour = [&](const Boundary& other) { return same_list(other, *block); };
    const auto before = std::find_if(std::make_reverse_iterator(block), blocks.rend(), neighbour);
    const auto next = std::find_if(block + 1, blocks.end(), neighbour);
    find_leaving(*block, before == blocks.rend() ? nullptr : &*before, next == blocks.end() ? nullptr : &*next,
                 {begin_behind(static_cast<std::size_t>(block - blocks.begin())), &path, std::nullopt, false}, remarks);
  }
  return blocks;
}

}  // namespace sinkscope
