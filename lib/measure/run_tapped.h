#pragma once
// Runs of the tapped graph that hand over heads as heads, also where one batch alone does not show them.

#include <functional>

#include "measure/instrument.h"

namespace sinkscope {

/// Runs the tapped graph on `first` with the taps that `fresh_taps` makes. Where the leading dims of a site could not
/// be told apart, another number of sequences runs too (one alone, or a single one twice); what that shows to be
/// mistaken is run again, with new taps. Throws as run_graph does, and InputError where both runs leave it open.
c10::IValue run_tapped(const InstrumentedModel& model, const at::Tensor& first,
                       const std::function<Taps()>& fresh_taps);

}  // namespace sinkscope
