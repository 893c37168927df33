#!/usr/bin/env bash
# Sets sinkscope up (see setup.sh) and compares it with the plain forward and with other ways to get the same statistics.
#
#   scripts/bench.sh [OPTION...]     the options of bench.py, among them --quick-check
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash scripts/setup.sh program kernel_bench sinkscope_torch_tests
exec .venv/bin/python scripts/bench.py "$@"
