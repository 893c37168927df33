#!/usr/bin/env bash
# Sweeps checkpoints with a Slurm array: every task measures its part, a last job merges. Run it on a login node:
#
#   scripts/slurm_sweep.sh [OPTION...] -- MODEL --weights PATH... -o DIR [options of `sinkscope sweep`]
#
#   --tasks N        parts (8); each is a task of the array
#   --at-once N      tasks that run at the same time (all)
#   --gpus N         GPUs a task (1); 0: none, and the sweep runs on the CPU
#   --cpus N         CPU cores a task (4)
#   --memory SIZE    memory a task, as sbatch takes it (16G)
#   --time LIMIT     time limit of a task (04:00:00)
#   --program FILE   the program (build/sinkscope beside this script, else the one in PATH)
#   --sbatch OPTION  passed on to sbatch, like --sbatch --partition=gpu; repeatable
#
# A task that is preempted, requeued or reaches its time limit goes on where it stopped: finished reports are skipped. A minute
# before its limit a task gets SIGUSR1, finishes what it writes and puts itself into the queue again. Logs: DIR/slurm-logs.
set -euo pipefail

stop() { printf 'slurm_sweep.sh: error: %s\n' "$*" >&2; exit 2; }

# What runs inside the array: not `exec`, because the task has to requeue itself at its time limit.
run_task() {
  local program=$1 limit_near=0 status=0
  shift
  "$program" sweep "$@" --shard slurm --no-progress &
  local child=$!
  trap 'limit_near=1; kill -USR1 "$child" 2>/dev/null || true' USR1
  trap 'kill -TERM "$child" 2>/dev/null || true' TERM
  while true; do # a signal ends `wait`, not the child
    status=0
    wait "$child" || status=$?
    kill -0 "$child" 2>/dev/null || break
  done
  if [ "$status" -eq 143 ] && [ "$limit_near" -eq 1 ]; then
    scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"
  fi
  exit "$status"
}

if [ "${1:-}" = --run-task ]; then
  shift
  run_task "$@"
fi

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tasks=8 at_once='' gpus=1 cpus=4 memory=16G time=04:00:00 program='' extra=()
[ -x "$here/../build/sinkscope" ] && program=$(cd "$here/../build" && pwd)/sinkscope

while [ $# -gt 0 ]; do
  case $1 in
    --tasks | --at-once | --gpus | --cpus | --memory | --time | --program | --sbatch)
      [ $# -ge 2 ] || stop "$1 needs a value"
      case $1 in
        --tasks) tasks=$2 ;; --at-once) at_once=$2 ;; --gpus) gpus=$2 ;; --cpus) cpus=$2 ;;
        --memory) memory=$2 ;; --time) time=$2 ;; --program) program=$2 ;; --sbatch) extra+=("$2") ;;
      esac
      shift 2
      ;;
    -h | --help) sed -n '2,/^set -e/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    --) shift; break ;;
    *) stop "unknown option $1; the options of the sweep follow after --" ;;
  esac
done
[ $# -gt 0 ] || stop "nothing to sweep; write -- and then MODEL --weights PATH... -o DIR"
for number in "$tasks" "$gpus" "$cpus" "${at_once:-1}"; do
  [[ $number =~ ^[0-9]+$ ]] || stop "'$number' is no number"
done
[ "$tasks" -ge 1 ] || stop "--tasks $tasks: at least 1 is needed"
[ -n "$program" ] || program=$(command -v sinkscope) || stop "no sinkscope found; give --program FILE"
command -v sbatch >/dev/null || stop "no sbatch here; run this where Slurm is"

directory=''
arguments=("$@")
for i in "${!arguments[@]}"; do
  case ${arguments[$i]} in
    -o | --output) directory=${arguments[$((i + 1))]:-} ;;
    --output=*) directory=${arguments[$i]#*=} ;;
  esac
done
[ -n "$directory" ] || stop "the sweep needs -o DIR"

"$program" sweep "$@" --dry-run >/dev/null # a mistake is told here, not in a log
mkdir -p "$directory/slurm-logs"           # sbatch fails in silence where the folder of its log is missing

options=(--parsable --cpus-per-task="$cpus" --mem="$memory" --time="$time" "${extra[@]}")
[ "$gpus" -eq 0 ] || options+=(--gres="gpu:$gpus")
array=$(sbatch "${options[@]}" --job-name=sinkscope-sweep --array="0-$((tasks - 1))${at_once:+%$at_once}" \
  --requeue --open-mode=append --signal=B:USR1@60 --output="$directory/slurm-logs/task-%a.log" \
  "$here/$(basename "${BASH_SOURCE[0]}")" --run-task "$program" "$@" --threads "$cpus")
merge=$(sbatch --parsable "${extra[@]}" --job-name=sinkscope-merge --dependency="afterany:${array%%;*}" --cpus-per-task=1 \
  --mem="$memory" --time=00:30:00 --output="$directory/slurm-logs/merge.log" \
  --wrap "$(printf '%q ' "$program" sweep --merge "$directory")")
printf 'array %s (%s tasks), then merge %s; logs in %s\n' "${array%%;*}" "$tasks" "${merge%%;*}" "$directory/slurm-logs"
