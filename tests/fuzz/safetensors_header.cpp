// libFuzzer target (cmake -DSINKSCOPE_FUZZ=ON with clang); tests/files/safetensors_fuzz_test.cpp runs the same check on
// mutations of a few seeds.
#include "fuzz/safetensors_header.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  sinkscope::check_safetensors_header(std::as_bytes(std::span(data, size)));
  return 0;
}
