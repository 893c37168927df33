#pragma once
// Everything about a run that can be refused by looking at the file system, before libtorch is loaded or a model is
// read.

#include "config/measure_config.h"

namespace sinkscope {

/// Throws InputError for a model, weights or token file that is missing, empty, a directory or unreadable; UsageError
/// for an output that cannot be written, that would overwrite an input, or for two results on one file or on stdout.
void check_files(const MeasureConfig& config);

/// Whether the table goes to stdout: not with --json, nor where stdout already carries another result.
bool prints_table(const MeasureConfig& config);

}  // namespace sinkscope
