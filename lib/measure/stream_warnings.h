#pragma once
// What a report says about where the residual stream was taken.

#include <vector>

#include "graph/streams.h"
#include "report/report.h"

namespace sinkscope {

/// Appends a warning for each kind of remark that there is.
void append_stream_warnings(const StreamRemarks& remarks, std::vector<Warning>& warnings);

}  // namespace sinkscope
