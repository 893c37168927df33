#pragma once
#include <string>

#include "config/measure_config.h"
#include "input/input.h"
#include "measure/instrument.h"

namespace sinkscope {

/// Sites, metrics, passes and an estimate of memory and time, as text. Runs nothing of the model.
std::string dry_run(const InstrumentedModel& model, const MeasureConfig& config, const Input& input);

}  // namespace sinkscope
