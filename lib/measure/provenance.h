#pragma once
// What a report says beside its numbers: model, input, settings, versions.

#include <string>
#include <vector>

#include "config/measure_config.h"
#include "input/input.h"
#include "measure/instrument.h"
#include "measure/measure.h"
#include "report/report.h"

namespace sinkscope {

/// Sets libtorch's threads as --threads asks; by default as many as the cores that this process may use.
void set_threads(const MeasureConfig& config);

/// What build_input must know of the model.
ModelFacts facts_of(const InstrumentedModel& model);

/// Everything that is known before the run. `argv`: the command line after the program.
Report report_head(const InstrumentedModel& model, const MeasureConfig& config, const Input& input,
                   std::vector<std::string> argv);

/// Adds what the run gave. The input of an interrupted run becomes the sequences that ran.
void complete_report(Report& report, MeasureResult result, const Input& input);

}  // namespace sinkscope
