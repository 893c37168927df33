#pragma once
// --verify: a sequence has the same statistics alone as in its batch.

#include <vector>

#include "base/needs.h"
#include "measure/batch_recorder.h"
#include "measure/instrument.h"

namespace sinkscope {

/// Compares what `recorder`, which has seen the run of `members`, holds of the first of them with a run of it alone.
/// Throws InputError where they differ by more than 5 % of the largest value: the model mixes sequences, or it puts
/// heads or tokens before the batch in a tensor whose sizes fit by chance. `layout` is that of the model.
void verify_alone(const InstrumentedModel& model, const Needs& needs, const std::vector<const Sequence*>& members,
                  const Layout& layout, BatchRecorder& recorder);

}  // namespace sinkscope
