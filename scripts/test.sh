#!/usr/bin/env bash
# Sets sinkscope up (see setup.sh), runs every test, then the torch-free half again under ASan and UBSan. The last line counts
# the tests: `N passed, N failed`, and `, N skipped` if there were any.
#   --families    instead measures every Hugging Face family in all four forms (fused and eager, with weights stored and as a
#                 graph alone) and, if all agree, writes the table of docs/families.md
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

if [ "${1:-}" = --families ]; then
  bash scripts/setup.sh || exit 1
  SINKSCOPE_FAMILIES=full SINKSCOPE_FAMILIES_TABLE="$PWD/docs/families.md" OMP_WAIT_POLICY=passive \
    exec .venv/bin/python -m pytest -q -rsx tests/python/test_measure_families.py
elif [ "$#" -gt 0 ]; then
  echo "usage: scripts/test.sh [--families]" >&2
  exit 2
fi

passed=0 failed=0 skipped=0

# run_tests FOLDER: runs the tests of a build folder and adds to the three counts.
run_tests() {
  local log=$1/ctest.log total failures skips
  ctest --test-dir "$1" --output-on-failure --no-tests=error --parallel "$(nproc)" </dev/null 2>&1 | tee "$log"
  local status=${PIPESTATUS[0]}
  read -r failures total < <(sed -nE 's/^[0-9]+% tests passed, ([0-9]+) tests? failed out of ([0-9]+)$/\1 \2/p' "$log")
  if [ -z "${total:-}" ]; then # ctest itself failed
    failed=$((failed + 1))
    return
  fi
  [ "$status" -eq 0 ] || [ "$failures" -gt 0 ] || failures=1
  skips=$(grep -cE '^ *[0-9]+/[0-9]+ Test +#[0-9]+: .*\*\*\*Skipped' "$log")
  passed=$((passed + total - failures - skips)) failed=$((failed + failures)) skipped=$((skipped + skips))
}

if bash scripts/setup.sh all; then
  run_tests build
  if cmake -S . --preset asan --log-level=WARNING </dev/null && cmake --build build-asan --target sinkscope_tests </dev/null; then
    UBSAN_OPTIONS=print_stacktrace=1 run_tests build-asan
  else
    failed=$((failed + 1))
  fi
else
  failed=$((failed + 1))
fi

summary="$passed passed, $failed failed"
[ "$skipped" -eq 0 ] || summary+=", $skipped skipped"
printf '\n%s\n' "$summary"
[ "$failed" -eq 0 ]
