#pragma once
// Rewrites a flat graph so that attention sites and residual streams are observed while it runs.

#include <vector>

#include "graph/find_attention.h"
#include "graph/inline_with_paths.h"
#include "graph/streams.h"

namespace sinkscope {

/// Replaces every site that is an operator by its observing twin (sinkscope::observe_sdpa and the like), routes the
/// output of every materialised site through sinkscope::observe_weights and every stream through sinkscope::tap_stream;
/// removes the markers that are left. The output of the graph is the model's own. Operators and their arguments:
/// observe/tap_ops.cpp.
void insert_taps(FlatGraph& flat, const std::vector<Site>& sites, const std::vector<StreamPoint>& streams);

/// Only removes the markers: the plain graph, for comparison.
void remove_markers(FlatGraph& flat);

/// Moves device and tensor constants of the graph to `device` (tracing bakes the device in: a trace records `device` as
/// a constant).
void move_constants(torch::jit::Graph& graph, at::Device device);

enum class KeptLogits { last, none };
/// Lets the unembedding (the last linear map before the output) see only the last position, or leaves it out: the graph
/// then returns the hidden state. Throws InputError if the output does not come from a linear map.
void reduce_logits(torch::jit::Graph& graph, KeptLogits keep);

}  // namespace sinkscope
