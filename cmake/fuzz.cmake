# Fuzz targets, with clang and the torch-free half: cmake -S . -B build-fuzz -DCMAKE_CXX_COMPILER=clang++ -DSINKSCOPE_TORCH=OFF
# -DSINKSCOPE_TESTS=OFF -DSINKSCOPE_FUZZ=ON; then build-fuzz/fuzz_safetensors_header -max_total_time=60.

option(SINKSCOPE_FUZZ "Build the libFuzzer targets in tests/fuzz (clang)" OFF)
if(SINKSCOPE_FUZZ)
  add_executable(fuzz_safetensors_header tests/fuzz/safetensors_header.cpp lib/files/safetensors_header.cpp lib/files/mapped_file.cpp)
  target_include_directories(fuzz_safetensors_header PRIVATE lib tests)
  target_compile_options(fuzz_safetensors_header PRIVATE -fsanitize=fuzzer,address,undefined -g -O1)
  target_link_options(fuzz_safetensors_header PRIVATE -fsanitize=fuzzer,address,undefined)
  target_link_libraries(fuzz_safetensors_header PRIVATE sinkscope_options fmt::fmt nlohmann_json::nlohmann_json)
endif()
