#!/usr/bin/env bash
# Trains with several processes on this machine, each with its own CPU devices: a small version of training on a pod.
#
# usage: launch/local.sh [OPTION...] -- --config=CONFIG --workdir=FOLDER [ARGUMENT...]
#
# The arguments after -- go to `python -m irg_jax.train`, and are checked before. Each line of output begins with the
# index of its process. When a process fails the others are stopped; the exit status is that of the first one that
# failed. Ctrl-C reaches all of them: they finish the step, save and exit. A second Ctrl-C ends them at once.
#
#   --processes=2      number of processes
#   --devices=2        CPU devices per process
#   --max_restarts=0   failures after which all processes start again, and resume from the last checkpoint; an error of
#                      the user (exit status 2) and a process that was stopped (130) are none
#   --port=PORT        port of process 0, the coordinator; a free one if not given
#   --grace=30         seconds that the other processes have to exit before they are killed
#   --unchecked        does not check first that the arguments can be trained on so many devices
#   --dry_run          prints the commands and runs none but the check
#   --help             prints this
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=lib.sh
source "$root/launch/lib.sh"
# shellcheck source=check.sh
source "$root/launch/check.sh"

processes=2 devices=2 max_restarts=0 port='' grace=30
parse "processes devices max_restarts port grace" "$@"
require_counts processes devices grace
require_numbers max_restarts
require_folders
require_tool python "activate the environment that irg_jax is installed in"
# The one that trains.
pythons=(python)
check_training "$((processes * devices))" "$PWD"

free_port() {
  local candidate
  # Below the range of ports for outgoing connections.
  while candidate=$((20000 + RANDOM % 10000)) && (: <"/dev/tcp/127.0.0.1/$candidate") 2>/dev/null; do :; done
  echo "$candidate"
}

# process INDEX: sets `command` to the command of that process.
process() {
  command=(
    env "JAX_COORDINATOR_ADDRESS=localhost:$coordinator" "JAX_NUM_PROCESSES=$processes" "JAX_PROCESS_ID=$1"
    JAX_PLATFORMS=cpu "XLA_FLAGS=${XLA_FLAGS:+$XLA_FLAGS }--xla_force_host_platform_device_count=$devices"
    python -m irg_jax.train "${arguments[@]}"
  )
}

if [[ $dry_run ]]; then
  coordinator=${port:-$(free_port)}
  for ((id = 0; id < processes; id++)); do process "$id" && echo "$(quoted "${command[@]}") &"; done
  echo wait
  exit
fi

# Job control gives each process its own process group. Otherwise a shell's background processes ignore Ctrl-C, or get
# it twice, from the terminal and from this script.
set -m
folder=$(mktemp -d)
running=() readers=() stopping='' interrupted=''
# stop SIGNAL: sends it to all processes.
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
# pause: waits 0.1 s; unlike sleep, signals are handled at once.
pause() { read -r -t 0.1 -u 3 || true; }

start() {
  coordinator=${port:-$(free_port)}
  # A child that has not yet executed Python would inherit the traps of this script, and lose the signal.
  trap - INT TERM HUP
  for ((id = 0; id < processes; id++)); do
    exec 4> >(prefix "$id" 3>&-)
    readers+=("$!")
    process "$id"
    "${command[@]}" </dev/null >&4 2>&1 3>&- 4>&- &
    running+=("$!")
    exec 4>&-
  done
  trap 'interrupted=yes; stop INT' INT
  trap 'interrupted=yes; stop TERM' TERM HUP
  # Between two attempts there was nothing to stop.
  [[ ! $interrupted ]] || stop INT
}

# finish: waits until all processes have ended, and sets `status` to that of the first one that failed.
finish() {
  local id pid ended deadline='' signal=KILL
  status=0
  while ((${#running[@]})); do
    for id in "${!running[@]}"; do
      kill -0 "${running[id]}" 2>/dev/null && continue
      pid=${running[id]} ended=0
      unset "running[id]"
      # Without the redirection the shell prints its own message about a killed process.
      { wait "$pid" || ended=$?; } 2>/dev/null
      # Its own children, such as data workers, would keep its output open.
      kill -KILL -- "-$pid" 2>/dev/null || true
      ((ended == 0 || status)) && continue
      status=$ended deadline=$((SECONDS + grace))
      [[ $stopping ]] && continue
      if ((status == 130)); then
        # All of them stop at the same step and save; a signal now would be the second one for some.
        note "process $id was stopped, and the others with it"
        signal=TERM
        continue
      fi
      note "error: process $id exited with status $ended, the others are stopped; see its last lines"
      stop TERM
    done
    if [[ $deadline ]] && ((SECONDS >= deadline && ${#running[@]})); then
      stop "$signal"
      if [[ $signal == TERM ]]; then
        signal=KILL deadline=$((SECONDS + grace))
      else
        note "error: process ${!running[*]} did not exit in $grace s and is killed"
        deadline=''
      fi
    fi
    pause
  done
  for pid in "${readers[@]}"; do while kill -0 "$pid" 2>/dev/null; do pause; done; done
  readers=() stopping=''
}

restarts=0
start
finish
while [[ ! $interrupted && $status != @(0|2|130) ]] && ((restarts++ < max_restarts)); do
  note "starting all processes again, restart $restarts of $max_restarts"
  start
  finish
done
exit "$status"
