// main() of the test programs, compiled once: Catch2 2.13 takes 10 s for it.
#define CATCH_CONFIG_RUNNER
#include "catch.h"

#include <cstdio>

#include "skip_reason.h"

int main(int argc, char** argv) {
  constexpr int kSkipped = 77;  // SKIP_RETURN_CODE in cmake/tests.cmake
  if (const char* reason = skip_reason == nullptr ? nullptr : skip_reason()) {
    std::printf("skipped: %s\n", reason);
    return kSkipped;
  }
  return Catch::Session().run(argc, argv);
}
