#!/usr/bin/env bash
# Builds and runs everything that needs a GPU, on a machine with nvcc, g++ and its own torch 2.11: the CUDA kernels, their tests against
# float64 and a timing table. Nothing is downloaded; Catch2 and highway come from the system or from headers carried in DEPS.
#
#   scripts/gpu_check.sh [build folder]
#   PYTHON  interpreter that has torch (python3)      DEPS  folder with include/catch2/catch.hpp (default: system)
#   ARCH    compute capability (asked from nvidia-smi) JOBS  parallel compilers (all cores)
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build-gpu}
python=${PYTHON:-python3}
jobs=${JOBS:-$(nproc)}
mkdir -p "$build"

if ! nvidia-smi -L; then
  echo "skipped: no GPU on this machine" >&2
  exit 77
fi
arch=${ARCH:-$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -1 | tr -d .)}
torch=$("$python" -c "import importlib.util as u; print(u.find_spec('torch').submodule_search_locations[0])")
cuda=$(dirname "$(dirname "$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)")")
includes=(-Ilib -Itests -I"$cuda/include" -isystem "$torch/include" -isystem "$torch/include/torch/csrc/api/include")
if [[ -n ${DEPS:-} ]]; then includes+=(-isystem "$DEPS/include"); fi
echo "torch $("$python" -c 'import torch; print(torch.__version__)'), nvcc $("$cuda/bin/nvcc" --version | sed -n 's/.*release \([0-9.]*\).*/\1/p'), sm_$arch"

started=$SECONDS
"$cuda/bin/nvcc" -std=c++17 -O3 -Ilib -gencode "arch=compute_$arch,code=sm_$arch" -Xcompiler -fPIC \
  -Xptxas -v -c lib/kernels/cuda/fused_statistics.cu -o "$build/fused_statistics.cu.o" >"$build/nvcc.log" 2>&1 &
compile_kernel=$!
# The CPU pass (which needs highway) is not needed here: the general tier and the reference judge the CUDA pass.
sources=(lib/kernels/{check_call,row_blocks,score_tensor,reference}.cpp lib/kernels/cuda/fused_statistics_cuda.cpp
  tests/gpu_main.cpp tests/kernels/cuda/full_pass_cuda_test.cpp tests/kernels/tile_schedule_test.cpp bench/kernel_bench_cuda.cpp)
printf '%s\n' "${sources[@]}" | xargs -P "$jobs" -I{} sh -c \
  'g++ -std=c++20 -O2 -fPIC '"$(printf '%q ' "${includes[@]}")"' -c "$1" -o "$2/$(basename "$1" .cpp).o"' sh {} "$build"
wait $compile_kernel || { cat "$build/nvcc.log"; exit 1; }
echo "kernels: $(grep -c 'bytes spill stores' "$build/nvcc.log") compiled, $(grep 'bytes spill stores' "$build/nvcc.log" | grep -vc ' 0 bytes spill stores' || true) spill"

cudart=$(ls "$cuda"/lib64/libcudart.so "$torch"/../nvidia/cu13/lib/libcudart.so* 2>/dev/null | head -1)
libraries=("$torch/lib/libtorch_cpu.so" "$torch/lib/libc10.so")
cuda_libraries=("$torch/lib/libc10_cuda.so" "$cudart" -Wl,--no-as-needed "$torch/lib/libtorch_cuda.so" -Wl,--as-needed)
rpath=("-Wl,-rpath,$torch/lib" "-Wl,-rpath,$(dirname "$cudart")")
g++ -shared "$build"/fused_statistics{.cu,_cuda}.o -o "$build/sinkscope_cuda.so" "${libraries[@]}" "${cuda_libraries[@]}" "${rpath[@]}"
common=("$build"/{check_call,row_blocks,score_tensor,reference}.o)
g++ "$build"/{gpu_main,full_pass_cuda_test,tile_schedule_test}.o "${common[@]}" -o "$build/gpu_tests" \
  "${libraries[@]}" "${cuda_libraries[@]}" -ldl "${rpath[@]}"
g++ "$build"/kernel_bench_cuda.o "${common[@]}" -o "$build/kernel_bench_cuda" \
  "${libraries[@]}" "${cuda_libraries[@]}" -ldl "${rpath[@]}"
echo "built in $((SECONDS - started)) s"

export SINKSCOPE_CUDA_MODULE=$PWD/$build/sinkscope_cuda.so
if [[ $build = /* ]]; then SINKSCOPE_CUDA_MODULE=$build/sinkscope_cuda.so; fi
status=0
timeout 200 "$build/gpu_tests" --durations yes || status=$?
timeout 150 "$build/kernel_bench_cuda" || status=$?
echo "gpu_check: $((SECONDS - started)) s, $([[ $status = 0 ]] && echo passed || echo "FAILED ($status)")"
exit $status
