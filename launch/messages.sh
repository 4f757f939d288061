# shellcheck shell=bash
# Errors, progress and help, the same in every script. Sourced, never run; works with bash 3.2.

# die MESSAGE: prints one line that says what to do, and exits with status 2.
die() {
  printf 'error: %s\n' "$1" >&2
  exit 2
}

# note MESSAGE: prints one line of progress to stderr, separate from the output of the commands.
note() { printf '%s\n' "$1" >&2; }

# usage: prints the comment at the top of the script that was called.
usage() { awk 'NR > 1 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "$0"; }
