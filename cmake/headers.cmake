# headers: compiles every header on its own, twice in one file, so that each includes what it uses and has its guard. Not part of
# the default build: cmake --build build --target headers.

function(sinkscope_header_check target library)
  set(units)
  foreach(header IN LISTS ARGN)
    file(RELATIVE_PATH name ${PROJECT_SOURCE_DIR} ${header})
    set(unit ${SINKSCOPE_GENERATED_DIR}/headers/${name}.cpp)
    file(CONFIGURE OUTPUT ${unit} CONTENT
      "#include \"${header}\"\n#include \"${header}\"  // NOLINT(readability-duplicate-include)\n" @ONLY)
    list(APPEND units ${unit})
  endforeach()
  add_library(${target} OBJECT EXCLUDE_FROM_ALL ${units} ${PROJECT_SOURCE_DIR}/cmake/empty.cpp)
  target_link_libraries(${target} PRIVATE ${library})
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/tests ${PROJECT_SOURCE_DIR}/apps)
  add_dependencies(headers ${target})
endfunction()

add_custom_target(headers)
list(TRANSFORM torch_free_layers REPLACE "(.+)" "lib/\\1/*.h" OUTPUT_VARIABLE patterns)
sinkscope_glob(headers GLOB_RECURSE ${patterns})
sinkscope_glob(app_headers GLOB apps/*.h)
sinkscope_header_check(sinkscope_core_headers sinkscope_core ${headers} ${app_headers})
target_link_libraries(sinkscope_core_headers PRIVATE CLI11::CLI11)

if(SINKSCOPE_TORCH)
  list(TRANSFORM torch_layers REPLACE "(.+)" "lib/\\1/*.h" OUTPUT_VARIABLE patterns)
  sinkscope_glob(headers GLOB_RECURSE ${patterns} apps/torch/*.h)
  list(FILTER headers EXCLUDE REGEX "/lib/kernels/cuda/|torch_pch\\.h$")
  sinkscope_header_check(sinkscope_torch_headers sinkscope_torch_objects ${headers})
  target_link_libraries(sinkscope_torch_headers PRIVATE CLI11::CLI11)
  sinkscope_reuse_torch_pch(sinkscope_torch_headers)
endif()
