#include "torch_preparation.h"

#include <cstdio>

#include "config/setting_source.h"

namespace sinkscope {

void print_notes(const MeasureConfig& config, const std::vector<std::string>& notes) {
  if (config.quiet) return;
  for (const std::string& note : notes) std::fprintf(stderr, "sinkscope: %s\n", note.c_str());
  for (const std::string& warning : suspicious_variables())
    std::fprintf(stderr, "sinkscope: warning: %s\n", warning.c_str());
}

}  // namespace sinkscope
