#pragma once
// Self or cross attention, by where the keys come from.

#include <map>
#include <string>
#include <vector>

#include "graph/inline_with_paths.h"
#include "graph/site.h"

namespace sinkscope {

/// Sets `kind` of the sites whose block is marked: `self` where the keys are computed from the residual stream that the
/// block carries, or from that of another block of its stack; `cross` where they are not (an encoder's output, a
/// learned memory). Other sites keep theirs; a run shows whether keys and queries are equally many. `blocks`: block of
/// every module with a site (find_blocks). The markers must be in place.
void find_kinds(const FlatGraph& flat, const std::map<std::string, std::string>& blocks, std::vector<Site>& sites);

}  // namespace sinkscope
