#pragma once

#include <string>
#include <string_view>

#include "catch.h"
#include "kernels/tile_kernels.h"

namespace sinkscope::testing {

/// Calls run() with every instruction set of this processor in use, and restores the best.
template <class Run>
void on_every_instruction_set(const Run& run) {
  struct Restore {
    ~Restore() { restrict_instruction_set(""); }
  } const restore;
  for (const std::string_view set : instruction_sets()) {
    restrict_instruction_set(set);
    REQUIRE(std::string(instruction_set()) == std::string(set));
    CAPTURE(set);
    run();
  }
}

}  // namespace sinkscope::testing
