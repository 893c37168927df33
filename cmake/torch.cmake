# sinkscope_torch_cpu: libtorch_cpu and libc10 with their headers. find_package(Torch) is not used: it fails where the wheel was
# built with CUDA and the toolkit is absent, and it links libtorch, which pulls in libtorch_cuda.

set(TORCH_DIR "" CACHE PATH "The torch folder (with include/ and lib/); empty: the one of the Python in -DPython or .venv")
set(Python "" CACHE FILEPATH "Python interpreter that has torch; empty: .venv/bin/python, then python3")
set(torch_tested_version 2.11)

if(TORCH_DIR)
  set(SINKSCOPE_TORCH_DIR ${TORCH_DIR})
else()
  set(python ${Python})
  if(NOT python AND EXISTS ${PROJECT_SOURCE_DIR}/.venv/bin/python)
    set(python ${PROJECT_SOURCE_DIR}/.venv/bin/python)
  elseif(NOT python)
    find_program(SINKSCOPE_PYTHON3 python3)
    set(python ${SINKSCOPE_PYTHON3})
  endif()
  # Looked up without importing it: 16 ms instead of 2 s.
  execute_process(
    COMMAND ${python} -c "import importlib.util as u; print(u.find_spec('torch').submodule_search_locations[0])"
    OUTPUT_VARIABLE SINKSCOPE_TORCH_DIR OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()

foreach(needed include/torch/script.h lib/libtorch_cpu.so lib/libc10.so)
  if(NOT SINKSCOPE_TORCH_DIR OR NOT EXISTS ${SINKSCOPE_TORCH_DIR}/${needed})
    message(FATAL_ERROR
      "libtorch was not found (looked for ${needed} in '${SINKSCOPE_TORCH_DIR}', Python '${python}').\n"
      "Do one of these:\n"
      "  run scripts/setup.sh, which makes .venv with the pinned torch;\n"
      "  pass -DPython=<interpreter that has torch> or -DTORCH_DIR=<folder with include/ and lib/>;\n"
      "  pass -DSINKSCOPE_TORCH=OFF for the commands that need no model.")
  endif()
endforeach()

set(torch_version unknown)
foreach(file version.py build-version ../build-version)
  if(torch_version STREQUAL unknown AND EXISTS ${SINKSCOPE_TORCH_DIR}/${file})
    file(READ ${SINKSCOPE_TORCH_DIR}/${file} text)
    if(text MATCHES "([0-9]+\\.[0-9]+\\.[0-9]+)")
      set(torch_version ${CMAKE_MATCH_1})
    endif()
  endif()
endforeach()
message(STATUS "torch ${torch_version}: ${SINKSCOPE_TORCH_DIR}")
if(NOT torch_version MATCHES "^${torch_tested_version}")
  message(WARNING "sinkscope is tested with torch ${torch_tested_version}; this is ${torch_version}.")
endif()

# at::parallel_for is a template: in a source compiled without OpenMP it silently runs on one thread. The runtime is torch's own
# where it ships one, so that there is one pool of threads.
find_package(OpenMP REQUIRED COMPONENTS CXX)
set(openmp_runtime ${SINKSCOPE_TORCH_DIR}/lib/libgomp.so.1)
if(NOT EXISTS ${openmp_runtime})
  set(openmp_runtime OpenMP::OpenMP_CXX)
endif()

add_library(sinkscope_torch_cpu INTERFACE)
target_include_directories(sinkscope_torch_cpu SYSTEM INTERFACE
  ${SINKSCOPE_TORCH_DIR}/include ${SINKSCOPE_TORCH_DIR}/include/torch/csrc/api/include)
target_link_libraries(sinkscope_torch_cpu INTERFACE
  ${SINKSCOPE_TORCH_DIR}/lib/libtorch_cpu.so ${SINKSCOPE_TORCH_DIR}/lib/libc10.so ${openmp_runtime})
target_compile_options(sinkscope_torch_cpu INTERFACE $<$<COMPILE_LANGUAGE:CXX>:${OpenMP_CXX_FLAGS}>)
