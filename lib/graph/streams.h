#pragma once
// Which values are the residual stream at the boundaries of the blocks.

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "graph/inline_with_paths.h"
#include "graph/site.h"

namespace sinkscope {

/// A tap point.
struct StreamPoint {
  StreamInfo info;
  torch::jit::Node* marker = nullptr;  ///< sinkscope::stream_point(x), whose value is the residual stream there
};

/// What a reader of the residual-stream metrics must know about where the streams were taken: paths of blocks.
struct StreamRemarks {
  /// Consecutive blocks of a stack of which the second is not given what the first hands on.
  std::vector<std::pair<std::string, std::string>> gaps;
  std::vector<std::string> added_outside;  ///< hand on only what they add: the stream is the sum, behind the block
  std::vector<std::string> no_residual;    ///< what they are given is no term of anything that they hand on
  std::vector<std::string> several;        ///< hand on more than one sum with what they were given; the first is taken
};

struct Streams {
  std::vector<StreamPoint> points;
  StreamRemarks remarks;
};

/// Finds by the markers of inline_with_paths one stream entering the first block of each stack, one leaving every
/// block, in execution order. A stack is the blocks of one list, or blocks in no list of which each is given what the
/// one before has handed on. What leaves a block is its first result of which the state that it was given is a term;
/// where none is, the sum of its first result and that state behind the block, with what is added before the next block
/// begins. Sets `layer` of every site: the order of its block within its stack. `blocks`: find_blocks.
Streams find_streams(FlatGraph& flat, const std::map<std::string, std::string>& blocks, std::vector<Site>& sites);

}  // namespace sinkscope
