// Sigmoid attention: every weight stands for itself, rows sum to anything (row_sum "free").

#include "graph/idioms/idioms.h"
#include "graph/matrix_attention.h"
#include "graph/resemblance.h"
#include "graph/walk.h"

namespace sinkscope::idioms {

std::optional<Site> sigmoid(torch::jit::Node* node, LeftAlone* reason) {
  if (!is_op(node, {"sigmoid", "sigmoid_"})) return std::nullopt;
  std::string problem;
  std::optional<Site> site = matrix_attention({node->input(0), node->output(), std::nullopt, false}, problem);
  if (!site) {
    // Most sigmoids are gates. Worth a word where scores are behind it and values in front.
    if (reason != nullptr && !problem.empty() && resembles_attention(node->input(0), node->output()))
      *reason = {module_of(node), node->kind().toQualString(), problem, true};
    return std::nullopt;
  }
  site->info.pattern = "sigmoid";
  site->info.row_sum = "free";
  return site;
}

}  // namespace sinkscope::idioms
