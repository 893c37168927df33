#!/usr/bin/env bash
# Builds and runs everything that needs a GPU, on a machine with nvcc, g++, CMake, ninja and its own torch 2.11: the CUDA kernels
# against float64, whole models on the GPU against the CPU, and tables of times. Nothing is downloaded. Whole models need
# transformers and pytest there, or the models that scripts/gpu_deps.sh writes; without either they are skipped, and said so.
#
#   scripts/gpu_check.sh [build folder]
#   PYTHON  interpreter that has torch (python3)       DEPS  folder with the rest (see scripts/gpu_deps.sh)
#   ARCH    compute capability (asked from nvidia-smi)  JOBS  parallel compilers (all cores)
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build-gpu}
python=${PYTHON:-python3}
jobs=${JOBS:-$(nproc)}

if ! nvidia-smi -L; then
  echo "skipped: no GPU on this machine" >&2
  exit 77
fi
arch=${ARCH:-$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d .)}
PATH=$PATH:/usr/local/cuda/bin
echo "torch $("$python" -c 'import torch; print(torch.__version__)'), nvcc $(nvcc --version | sed -n 's/.*release \([0-9.]*\).*/\1/p'), sm_$arch"

started=$SECONDS
options=(-G Ninja -DCMAKE_BUILD_TYPE=Release -DSINKSCOPE_CUDA=ON "-DCMAKE_CUDA_ARCHITECTURES=$arch"
  "-DPython=$(command -v "$python")")
if [ -n "${DEPS:-}" ]; then
  prefix=$(realpath "$DEPS")/usr
  libraries=$prefix/lib/$(uname -m)-linux-gnu
  options+=("-DCMAKE_PREFIX_PATH=$prefix" "-DOPENSSL_INCLUDE_DIR=$prefix/include"
    "-DOPENSSL_CRYPTO_LIBRARY=$libraries/libcrypto.so.3")
  export LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
fi
cmake -S . -B "$build" "${options[@]}" --log-level=WARNING
cmake --build "$build" --parallel "$jobs" --target sinkscope sinkscope_torch sinkscope_cuda sinkscope_gpu_tests kernel_bench_cuda \
  >"$build/build.log" || { tail -n 40 "$build/build.log"; exit 1; }
echo "built in $((SECONDS - started)) s"

status=0
SINKSCOPE_CUDA_MODULE=$(realpath "$build/sinkscope_cuda.so")
export SINKSCOPE_CUDA_MODULE SINKSCOPE_BINARY=$PWD/$build/sinkscope PYTHONDONTWRITEBYTECODE=1
if [[ $build = /* ]]; then SINKSCOPE_BINARY=$build/sinkscope; fi
timeout 120 "$build/sinkscope_gpu_tests" --durations yes || status=$?
models=${DEPS:+$DEPS/models}
if "$python" -c 'import jsonschema, pytest, safetensors, tokenizers, transformers' 2>/dev/null; then
  timeout 120 "$python" -m pytest -q -rs -p no:cacheprovider tests/python/test_gpu.py || status=$?
  if [ ! -f "$models/bench.pt" ]; then
    models=$build/models
    "$python" tests/python/gpu_models.py "$models" || status=$?
  fi
else
  echo "skipped: tests/python/test_gpu.py: this Python lacks pytest, jsonschema, transformers, tokenizers or safetensors" >&2
  if [ -d "$models/compare" ]; then
    timeout 300 "$python" scripts/gpu_compare.py "$SINKSCOPE_BINARY" configs/demo/backcopy_3layer.pt "$models"/compare/*.pt ||
      status=$?
  else
    echo "skipped: whole models: no models beside the libraries; scripts/gpu_deps.sh writes them" >&2
  fi
fi
timeout 120 "$build/kernel_bench_cuda" || status=$?

# What measuring costs on the GPU, on layers of the model of scripts/bench.py.
if [ -f "$models/bench.pt" ]; then
  for length in 4096 32768; do
    timeout 60 "$SINKSCOPE_BINARY" bench "$models/bench.pt" --device cuda --random-tokens 1 --length "$length" --runs 5 ||
      status=$?
  done
else
  echo "skipped: bench: no model beside the libraries; scripts/gpu_deps.sh writes it" >&2
fi
echo "gpu_check: $((SECONDS - started)) s, $([ "$status" = 0 ] && echo passed || echo "FAILED ($status)")"
exit "$status"
