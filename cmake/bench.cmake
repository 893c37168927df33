# Benchmark programs, built on request: ninja kernel_bench. Speed is never tested, it is measured and written down.

add_executable(kernel_bench EXCLUDE_FROM_ALL bench/kernel_bench.cpp)
target_link_libraries(kernel_bench PRIVATE sinkscope_torch_objects)
set_target_properties(kernel_bench PROPERTIES BUILD_RPATH "${SINKSCOPE_TORCH_DIR}/lib")

if(SINKSCOPE_HAS_CUDA)
  add_executable(kernel_bench_cuda EXCLUDE_FROM_ALL bench/kernel_bench_cuda.cpp)
  target_link_libraries(kernel_bench_cuda PRIVATE sinkscope_torch_objects CUDA::cudart)
  set_target_properties(kernel_bench_cuda PROPERTIES BUILD_RPATH "$ORIGIN;${SINKSCOPE_TORCH_DIR}/lib")
  add_dependencies(kernel_bench_cuda sinkscope_cuda)
endif()
