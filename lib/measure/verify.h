#pragma once
// --verify: that measuring changes nothing, that the graph is what it seems, and how far every statistic is from
// float64.

#include "config/measure_config.h"
#include "input/input.h"
#include "measure/instrument.h"
#include "report/report.h"

namespace sinkscope {

/// Runs the first batch several times. Checks that the output with taps is bit-identical to the plain one; that the
/// plain run repeats itself (no active dropout); that a shorter input runs and, where every site is causal, gives the
/// same logits as the beginning of the longer one (no baked-in length); and compares every statistic with a float64
/// computation on the materialised matrix (up to 2048 positions, on 64 sampled rows beyond). Throws InputError where
/// the model fails a check.
VerifyInfo verify(const InstrumentedModel& model, const MeasureConfig& config, const Input& input);

}  // namespace sinkscope
