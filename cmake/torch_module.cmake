# sinkscope_torch.so: the commands that run a model, opened by the program when one of them is called.
#
# The layers are an OBJECT library, not an archive: operators register themselves in static initialisers, which a linker drops
# from an archive when nothing refers to them. The tests link the same objects.

set(torch_layers kernels model graph observe measure)
list(TRANSFORM torch_layers REPLACE "(.+)" "lib/\\1/*.cpp" OUTPUT_VARIABLE patterns)
sinkscope_glob(torch_sources GLOB_RECURSE ${patterns})
list(FILTER torch_sources EXCLUDE REGEX "/lib/kernels/cuda/") # cmake/cuda.cmake
sinkscope_glob(torch_command_sources GLOB_RECURSE apps/torch/*.cpp)

# torch/script.h takes about 15 s; precompiled once, a file of the torch half takes the time of its own code.
add_library(sinkscope_torch_objects OBJECT ${torch_sources} ${PROJECT_SOURCE_DIR}/cmake/empty.cpp)
target_link_libraries(sinkscope_torch_objects PUBLIC sinkscope_core sinkscope_torch_cpu hwy::hwy ${CMAKE_DL_LIBS})
# libtorch's include folder holds an fmt of its own, newer than the installed one and without its library.
target_compile_definitions(sinkscope_torch_objects PUBLIC FMT_HEADER_ONLY=1)
target_precompile_headers(sinkscope_torch_objects PRIVATE ${PROJECT_SOURCE_DIR}/lib/model/torch_pch.h)

# Every other user of the precompiled header must be position independent in the same way: a shared or OBJECT library.
function(sinkscope_reuse_torch_pch target)
  target_precompile_headers(${target} REUSE_FROM sinkscope_torch_objects)
endfunction()

# What all modules share: no "lib" in front, beside the program or in lib/sinkscope, and libtorch where it was found.
function(sinkscope_module target)
  set_target_properties(${target} PROPERTIES
    PREFIX "" SUFFIX .so
    BUILD_RPATH "$ORIGIN;${SINKSCOPE_TORCH_DIR}/lib"
    INSTALL_RPATH "$ORIGIN;${SINKSCOPE_TORCH_DIR}/lib")
  if(NOT SINKSCOPE_SANITIZE) # a sanitizer's own symbols come from the program
    target_link_options(${target} PRIVATE -Wl,--no-undefined)
  endif()
endfunction()

add_library(sinkscope_torch MODULE ${torch_command_sources} ${PROJECT_SOURCE_DIR}/cmake/empty.cpp)
target_link_libraries(sinkscope_torch PRIVATE sinkscope_torch_objects CLI11::CLI11)
sinkscope_reuse_torch_pch(sinkscope_torch)
target_include_directories(sinkscope_torch PRIVATE ${PROJECT_SOURCE_DIR}/apps)
sinkscope_module(sinkscope_torch)
