# sinkscope_core: the torch-free half. metrics/CMakeLists.txt adds the metrics and their table.

set(torch_free_layers base accumulate files config input metric report check sweep)
list(TRANSFORM torch_free_layers REPLACE "(.+)" "lib/\\1/*.cpp" OUTPUT_VARIABLE patterns)
sinkscope_glob(core_sources GLOB_RECURSE ${patterns})

add_library(sinkscope_core STATIC ${core_sources} $<TARGET_OBJECTS:sinkscope_version> $<TARGET_OBJECTS:sinkscope_embedded>)
target_include_directories(sinkscope_core PUBLIC ${PROJECT_SOURCE_DIR}/lib)
target_link_libraries(sinkscope_core
  PUBLIC sinkscope_options fmt::fmt nlohmann_json::nlohmann_json tomlplusplus::tomlplusplus CLI11::CLI11
  PRIVATE OpenSSL::Crypto Threads::Threads)
# JSON and fmt are in nearly every file; it only saves time, every file still includes what it uses.
target_precompile_headers(sinkscope_core PRIVATE
  <nlohmann/json.hpp> <fmt/format.h> <algorithm> <cstdint> <functional> <map> <memory> <optional> <string> <vector>)
