#pragma once
// Which values are the residual stream at the boundaries of the blocks.

#include <map>
#include <string>
#include <vector>

#include "graph/boundaries.h"
#include "graph/inline_with_paths.h"
#include "graph/site.h"

namespace sinkscope {

/// A tap point.
struct StreamPoint {
  StreamInfo info;
  torch::jit::Node* marker = nullptr;  ///< sinkscope::stream_point(x), whose value is the residual stream there
};

struct Streams {
  std::vector<StreamPoint> points;
  StreamRemarks remarks;
};

/// Finds by the markers of inline_with_paths one stream entering the first block of each stack, one leaving every
/// block, in execution order. A stack is the blocks of one list, or blocks in no list of which each is given what the
/// one before has handed on. Sets `layer` of every site: the order of its block within its stack. `blocks`:
/// find_blocks.
Streams find_streams(FlatGraph& flat, const std::map<std::string, std::string>& blocks, std::vector<Site>& sites);

}  // namespace sinkscope
