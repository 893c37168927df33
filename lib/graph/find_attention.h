#pragma once
// Finds the attention calls of a flat graph.

#include <string>
#include <vector>

#include "graph/site.h"

namespace sinkscope {

struct FoundAttention {
  std::vector<Site> sites;            ///< in execution order; id, path, ordinal, pattern, measured_by filled in
  std::vector<LeftAlone> left_alone;  ///< what is not attention, or not recognised
};

/// Throws InputError for fused attention that cannot be opened, naming it.
FoundAttention find_attention(torch::jit::Graph& graph);

}  // namespace sinkscope
