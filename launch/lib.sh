# shellcheck shell=bash
# Options and dry runs, the same in every launcher. Sourced, never run.

((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 404)) || {
  echo "error: bash $BASH_VERSION is too old; run this with bash 4.4 or newer" >&2
  exit 2
}

# shellcheck source=messages.sh
source "$(dirname "${BASH_SOURCE[0]}")/messages.sh"

dry_run=''
arguments=()

# quoted WORD...: prints the words as one line that any POSIX shell parses into the same words.
quoted() {
  local word line='' quote="'\\''"
  for word; do
    if [[ ! $word =~ ^[A-Za-z0-9_@%+=:,./-]+$ ]]; then word=${word//\'/"$quote"} && word="'$word'"; fi
    line+="$word "
  done
  printf '%s\n' "${line% }"
}

# run WORD...: runs the command, or prints it with --dry_run.
run() {
  if [[ $dry_run ]]; then quoted "$@"; else "$@"; fi
}

# parse "OPTION..." ARGUMENT...: sets the variable of each option to the value of --OPTION=VALUE or --OPTION VALUE, and
# the array `arguments` to the words after --. Every script has --help and --dry_run, those with check.sh --unchecked.
parse() {
  local _known=" $1 " _option
  shift
  while (($#)); do
    case $1 in
      --help) usage && exit ;;
      --dry_run) dry_run=yes ;;
      --unchecked)
        [[ -v unchecked ]] || die "--unchecked: no such option; see $0 --help"
        # shellcheck disable=SC2034  # read by check.sh
        unchecked=yes
        ;;
      --) arguments=("${@:2}") && return ;;
      --*)
        _option=${1%%=*} && _option=${_option#--}
        [[ $_known == *" $_option "* ]] || die "--$_option: no such option; see $0 --help"
        [[ $1 == *=* ]] || { (($# > 1)) && set -- "$1=$2" "${@:3}"; } || die "--$_option: its value is missing"
        printf -v "$_option" %s "${1#*=}"
        ;;
      *) die "'$1': not an option; arguments of the training go after --, see $0 --help" ;;
    esac
    shift
  done
}

# require OPTION...: refuses an option without a value.
require() {
  local _option
  for _option; do [[ ${!_option} ]] || die "--$_option is missing; see $0 --help"; done
}

# require_counts OPTION...: refuses a value that is not a whole number above zero.
require_counts() {
  local _option
  for _option; do
    [[ ${!_option} =~ ^[1-9][0-9]*$ ]] || die "--$_option=${!_option}: not a whole number above zero"
  done
}

# require_numbers OPTION...: refuses a value that is not a whole number, which may be zero.
require_numbers() {
  local _option
  for _option; do
    [[ ${!_option} =~ ^(0|[1-9][0-9]*)$ ]] || die "--$_option=${!_option}: not a whole number"
  done
}

# require_training: refuses a command line without arguments for irg_jax.train.
require_training() {
  ((${#arguments[@]})) || die "nothing to train: give --config and --workdir after --, see $0 --help"
}

# argument NAME: prints the value of --NAME among the arguments.
argument() {
  local i
  for i in "${!arguments[@]}"; do
    case ${arguments[i]} in
      "--$1="*) printf '%s\n' "${arguments[i]#*=}" ;;
      "--$1") printf '%s\n' "${arguments[i + 1]-}" ;;
    esac
  done
}

# require_shared_workdir: refuses a --workdir that not all machines see, or that is deleted with them.
require_shared_workdir() {
  require_training
  [[ $(argument workdir) == @(gs:/|)/* ]] ||
    die "--workdir after -- must be on storage that all machines see and that outlives them: gs:// or a mounted folder"
}

# require_folders: refuses an address in a bucket, for launchers that mount none.
require_folders() {
  local word
  require_training
  for word in "${arguments[@]}"; do
    [[ $word != *gs://* ]] || die "'$word': this launcher mounts no buckets; mount it, and give the folder"
  done
}

# require_tool TOOL ADVICE: refuses to go on without the tool, except in a dry run, which does not call it.
require_tool() {
  [[ $dry_run ]] || command -v "$1" >/dev/null || die "$1 is not on the PATH; $2"
}
