#!/usr/bin/env bash
# Trains with several processes on this machine, each with its own CPU devices: what a pod does, small.
#
# usage: launch/local.sh [OPTION...] -- --config=FILE --workdir=FOLDER [ARGUMENT...]
#
# What stands after -- goes to `python -m irg_jax.train`. Each line of output begins with the number of its process.
# When a process fails the others are stopped; the exit status is that of the first one that failed. Ctrl-C reaches all
# of them: they finish the step, save and end. A second Ctrl-C ends them at once.
#
#   --processes=2   processes
#   --devices=4     CPU devices of each
#   --port=PORT     where process 0 listens; a free one if not given
#   --grace=30      seconds that the other processes have to end in before they are killed
#   --dry_run       prints the commands and runs none
#   --help          prints this
set -euo pipefail
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

processes=2 devices=4 port='' grace=30
parse "processes devices port grace" "$@"
require_counts processes devices grace
require_folders

free_port() {
  local candidate
  # Below the range that the system gives to outgoing connections.
  while candidate=$((20000 + RANDOM % 10000)) && (: <"/dev/tcp/127.0.0.1/$candidate") 2>/dev/null; do :; done
  echo "$candidate"
}
port=${port:-$(free_port)}

# process NUMBER: sets `command` to what runs as that process.
process() {
  command=(
    env "JAX_COORDINATOR_ADDRESS=localhost:$port" "JAX_NUM_PROCESSES=$processes" "JAX_PROCESS_ID=$1"
    JAX_PLATFORMS=cpu "XLA_FLAGS=${XLA_FLAGS:+$XLA_FLAGS }--xla_force_host_platform_device_count=$devices"
    python -m irg_jax.train "${arguments[@]}"
  )
}

if [[ $dry_run ]]; then
  for ((id = 0; id < processes; id++)); do process "$id" && echo "$(quoted "${command[@]}") &"; done
  echo wait
  exit
fi
require_tool python "activate the environment that irg_jax is installed in"

# Job control gives every process a group of its own. Otherwise a shell's background processes ignore Ctrl-C, or get it
# twice, once from the terminal and once from here.
set -m
folder=$(mktemp -d)
running=() readers=() stopping=''
# stop SIGNAL: passes it on to every process.
stop() {
  local pid
  stopping=yes
  for pid in "${running[@]}"; do kill -s "$1" "$pid" 2>/dev/null || true; done
}
trap 'stop KILL; rm -rf "$folder"' EXIT

prefix() {
  local line
  trap '' INT TERM HUP
  while IFS= read -r line || [[ $line ]]; do printf '[%s] %s\n' "$1" "$line"; done
}

mkfifo "$folder/silence"
exec 3<>"$folder/silence"
# A pause in which signals are handled at once.
pause() { read -r -t 0.1 -u 3 || true; }

for ((id = 0; id < processes; id++)); do
  exec 4> >(prefix "$id" 3>&-)
  readers+=("$!")
  process "$id"
  "${command[@]}" </dev/null >&4 2>&1 3>&- 4>&- &
  running+=("$!")
  exec 4>&-
done
# Not before: a process that is not yet Python would have these traps as well, and lose the signal.
trap 'stop INT' INT
trap 'stop TERM' TERM HUP

status=0 deadline=''
while ((${#running[@]})); do
  for id in "${!running[@]}"; do
    kill -0 "${running[id]}" 2>/dev/null && continue
    pid=${running[id]} ended=0
    unset "running[id]"
    # The shell would tell of a killed process in words of its own.
    { wait "$pid" || ended=$?; } 2>/dev/null
    # What it started itself, such as data workers, would keep its output open.
    kill -KILL -- "-$pid" 2>/dev/null || true
    ((ended == 0 || status)) && continue
    status=$ended deadline=$((SECONDS + grace))
    [[ $stopping ]] && continue
    note "error: process $id ended with status $ended, the others are stopped; see its last lines"
    stop TERM
  done
  if [[ $deadline ]] && ((SECONDS >= deadline && ${#running[@]})); then
    note "error: process ${!running[*]} did not end in $grace s and is killed"
    deadline=''
    stop KILL
  fi
  pause
done
for pid in "${readers[@]}"; do while kill -0 "$pid" 2>/dev/null; do pause; done; done
exit "$status"
