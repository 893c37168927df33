#!/usr/bin/env bash
# Sets sinkscope up (see setup.sh) and measures the demo model, which was trained to need an attention sink.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash scripts/setup.sh

mkdir -p build/demo
build/sinkscope measure configs/demo/backcopy_3layer.pt -o build/demo/backcopy_3layer.json
printf '\nThe report: %s\n' "$PWD/build/demo/backcopy_3layer.json"
