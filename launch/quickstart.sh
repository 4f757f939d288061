#!/usr/bin/env bash
# Trains the quickstart from a fresh clone: makes the environment, trains both stages on the shapes world, generates for
# held-out prompts and writes the report. Takes about ten minutes on two CPU cores; only the first set-up needs a
# network.
#
# usage: launch/quickstart.sh [ARGUMENT...]
#
# The same command again resumes where it was stopped, and repeats nothing that is finished. The arguments are passed to
# `python -m irg_jax.train`, such as
#
#   --workdir=FOLDER                  folder of the run instead of runs/quickstart
#   --config=NAME                     config instead of shapes_quickstart
#   --config.stages.stage1.steps=50   a value of the config
#   --help                            prints this
#
# Environment variables:
#
#   PYTHON     the Python to use, 3.11 or newer; the newest on the PATH if not given
#   IRG_VENV   folder of the virtual environment; .venv in the checkout if not given
set -euo pipefail
# shellcheck source=environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

config='' workdir='' previous=''
for word; do
  case $word in
    --help | -h) usage && exit ;;
    --config | --config=*) config=given ;;
    --workdir=*) workdir=${word#*=} ;;
  esac
  if [[ $previous == --workdir ]]; then workdir=$word; fi
  previous=$word
done
if [[ ! $workdir ]]; then
  # Always in the checkout, and in the short form where that is the current folder.
  workdir=$root/runs/quickstart
  workdir=${workdir#"$PWD/"}
  set -- --workdir "$workdir" "$@"
fi
if [[ ! $config ]]; then set -- --config shapes_quickstart "$@"; fi

use_environment
python -m irg_jax.train "$@"

echo
# show FILE TEXT: where the file is and what is in it, if the run has it.
show() {
  if [[ -e $workdir/$1 ]]; then printf '%s: %s\n' "$workdir/$1" "$2"; fi
}
show report.html "scores, loss curves and the samples"
show report.png "samples as one image"
show samples "the images and thinking of each held-out prompt"
