# shellcheck shell=bash
# What the launchers share: options, help, dry runs, errors. Sourced, never run.

((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 404)) || {
  echo "error: bash $BASH_VERSION is too old; run this with bash 4.4 or newer" >&2
  exit 2
}

dry_run=''
arguments=()

# die MESSAGE: one line that says what to do, and status 2.
die() {
  printf 'error: %s\n' "$1" >&2
  exit 2
}

# note MESSAGE: one line of progress, apart from what the commands print.
note() { printf '%s\n' "$1" >&2; }

# usage: the comment at the top of the script that was called.
usage() { awk 'NR > 1 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "$0"; }

# quoted WORD...: the words as one line that any POSIX shell reads back as the same words.
quoted() {
  local word line='' quote="'\\''"
  for word; do
    if [[ ! $word =~ ^[A-Za-z0-9_@%+=:,./-]+$ ]]; then word=${word//\'/"$quote"} && word="'$word'"; fi
    line+="$word "
  done
  printf '%s\n' "${line% }"
}

# run WORD...: runs the command, or prints it where --dry_run is given.
run() {
  if [[ $dry_run ]]; then quoted "$@"; else "$@"; fi
}

# parse "OPTION..." ARGUMENT...: gives the variable of each option the value of --OPTION=VALUE or --OPTION VALUE, and
# the array `arguments` what stands after --.
parse() {
  local _known=" $1 " _option
  shift
  while (($#)); do
    case $1 in
      --help) usage && exit ;;
      --dry_run) dry_run=yes ;;
      --) arguments=("${@:2}") && return ;;
      --*)
        _option=${1%%=*} && _option=${_option#--}
        [[ $_known == *" $_option "* ]] || die "--$_option: no such option; see $0 --help"
        [[ $1 == *=* ]] || { (($# > 1)) && set -- "$1=$2" "${@:3}"; } || die "--$_option: its value is missing"
        printf -v "$_option" %s "${1#*=}"
        ;;
      *) die "'$1': not an option; arguments of the training stand after --, see $0 --help" ;;
    esac
    shift
  done
}

# require OPTION...: each has a value.
require() {
  local _option
  for _option; do [[ ${!_option} ]] || die "--$_option is missing; see $0 --help"; done
}

# require_counts OPTION...: each is a whole number above zero.
require_counts() {
  local _option
  for _option; do
    [[ ${!_option} =~ ^[1-9][0-9]*$ ]] || die "--$_option=${!_option}: not a whole number above zero"
  done
}

# require_training: there are arguments for irg_jax.train.
require_training() {
  ((${#arguments[@]})) || die "nothing to train: give --config and --workdir after --, see $0 --help"
}

# workdir: prints the value of --workdir among the arguments.
workdir() {
  local i
  for i in "${!arguments[@]}"; do
    case ${arguments[i]} in
      --workdir=*) printf '%s\n' "${arguments[i]#*=}" ;;
      --workdir) printf '%s\n' "${arguments[i + 1]-}" ;;
    esac
  done
}

# require_shared_workdir: the run's folder outlives the machines, and all of them see it.
require_shared_workdir() {
  require_training
  [[ $(workdir) == @(gs:/|)/* ]] ||
    die "--workdir after -- must be on storage that all machines see and that outlives them: gs:// or a mounted folder"
}

# require_folders: no argument is in a bucket, which nothing here mounts.
require_folders() {
  local word
  require_training
  for word in "${arguments[@]}"; do
    [[ $word != *gs://* ]] || die "'$word': no bucket is mounted here; mount it, and give the folder"
  done
}

# require_tool TOOL ADVICE: the tool is installed, if it is to run at all.
require_tool() {
  [[ $dry_run ]] || command -v "$1" >/dev/null || die "$1 is not on the PATH; $2"
}
