#pragma once
// What the commands that run a model share before libtorch is loaded.

#include <string>
#include <vector>

#include "config/measure_config.h"

namespace sinkscope {

/// Prints the notes of resolve() and warns of misspelt environment variables, on stderr; nothing with --quiet.
void print_notes(const MeasureConfig& config, const std::vector<std::string>& notes);

}  // namespace sinkscope
