# sinkscope_cuda.so: the CUDA kernels (lib/kernels/cuda), opened for --device cuda. Its .cu files include no torch header and are
# C++17, the newest standard CMake 3.25 knows for CUDA; its .cpp files hold the torch side.

sinkscope_glob(cuda_kernels GLOB_RECURSE lib/kernels/cuda/*.cu)
sinkscope_glob(cuda_hosts GLOB_RECURSE lib/kernels/cuda/*.cpp)

set(SINKSCOPE_HAS_CUDA OFF)
set(reason)
if(SINKSCOPE_CUDA STREQUAL "OFF" OR NOT SINKSCOPE_CUDA)
  set(reason "switched off")
elseif(NOT cuda_kernels)
  set(reason "no kernels in lib/kernels/cuda")
elseif(NOT EXISTS ${SINKSCOPE_TORCH_DIR}/lib/libtorch_cuda.so)
  set(reason "this torch has no CUDA part (${SINKSCOPE_TORCH_DIR}/lib/libtorch_cuda.so)")
else()
  find_program(SINKSCOPE_NVCC nvcc HINTS ENV CUDA_HOME ENV CUDA_PATH PATHS /usr/local/cuda PATH_SUFFIXES bin)
  if(SINKSCOPE_NVCC AND NOT DEFINED ENV{CUDACXX})
    set(ENV{CUDACXX} ${SINKSCOPE_NVCC})
  endif()
  include(CheckLanguage)
  check_language(CUDA) # tries the compiler, so that a broken toolkit does not stop a build that only could have used it
  if(CMAKE_CUDA_COMPILER)
    set(SINKSCOPE_HAS_CUDA ON)
  else()
    set(reason "no working nvcc")
  endif()
endif()

if(NOT SINKSCOPE_HAS_CUDA)
  if(SINKSCOPE_CUDA STREQUAL "AUTO" OR NOT SINKSCOPE_CUDA)
    message(STATUS "CUDA kernels: not built, ${reason}")
    return()
  endif()
  message(FATAL_ERROR "SINKSCOPE_CUDA=ON, but the CUDA kernels can't be built: ${reason}. Install the CUDA toolkit 13 and pass "
                      "-DCMAKE_CUDA_COMPILER=<nvcc>, or use SINKSCOPE_CUDA=AUTO.")
endif()

if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES "80-real;90") # code for 8.0 and 9.0, and PTX of 9.0 for what comes later
endif()
enable_language(CUDA)
find_package(CUDAToolkit REQUIRED)
message(STATUS "CUDA kernels: nvcc ${CMAKE_CUDA_COMPILER_VERSION}, architectures ${CMAKE_CUDA_ARCHITECTURES}")

add_library(sinkscope_cuda MODULE ${cuda_kernels} ${cuda_hosts})
set_target_properties(sinkscope_cuda PROPERTIES
  CUDA_STANDARD 17 CUDA_STANDARD_REQUIRED ON
  CUDA_RUNTIME_LIBRARY Shared # the runtime that libtorch has loaded already
  CUDA_VISIBILITY_PRESET hidden)
target_link_libraries(sinkscope_cuda PRIVATE sinkscope_core sinkscope_torch_cpu CUDA::cudart
  # Nothing here may refer to a symbol of libtorch_cuda, yet it must be loaded: it registers the device.
  -Wl,--no-as-needed ${SINKSCOPE_TORCH_DIR}/lib/libtorch_cuda.so ${SINKSCOPE_TORCH_DIR}/lib/libc10_cuda.so -Wl,--as-needed)
sinkscope_module(sinkscope_cuda)
