#include "measure/stream_warnings.h"

#include <fmt/format.h>

#include <string>

namespace sinkscope {
namespace {

/// "the block 'a'" or "the blocks 'a' and 2 more".
std::string named(const std::vector<std::string>& blocks) {
  if (blocks.size() == 1) return fmt::format("the block '{}'", blocks.front());
  return fmt::format("the blocks '{}' and {} more", blocks.front(), blocks.size() - 1);
}

}  // namespace

void append_stream_warnings(const StreamRemarks& remarks, std::vector<Warning>& warnings) {
  if (!remarks.gaps.empty()) {
    const auto& [before, block] = remarks.gaps.front();
    const std::size_t more = remarks.gaps.size() - 1;
    warnings.push_back(
        {"stream_gap",
         fmt::format(
             "the hidden state changes between the blocks '{}' and '{}'{}: residual-stream metrics see only what "
             "leaves the blocks that hold attention, and may miss the largest.",
             before, block, more > 0 ? fmt::format(" and {} more", more) : "")});
  }
  const auto warn = [&](const char* code, const std::vector<std::string>& blocks, const char* what) {
    if (!blocks.empty()) warnings.push_back({code, fmt::format("{}: {}", named(blocks), what)});
  };
  warn("stream_sum", remarks.added_outside,
       "what is handed on is added to the hidden state outside; the residual stream is taken behind that, with what "
       "else "
       "is added before the next block begins.");
  warn("stream_not_residual", remarks.no_residual,
       "what is handed on is no sum with what was given; what is measured as the residual stream is that result, and "
       "may "
       "be only a part of it.");
  warn("stream_not_seen", remarks.unseen,
       "what is handed on is no tensor and no tuple of tensors, so no residual stream leaves there.");
  warn("stream_several", remarks.several,
       "several sums with what was given are handed on; one of them is measured as the residual stream, and the hidden "
       "state is more.");
}

}  // namespace sinkscope
