#!/usr/bin/env bash
# The base model of the shapes world, from a fresh clone: it is trained on drawn pictures, paints pictures of its own, and
# goes on with what the world's reader sees in them. Several hours on two CPU cores; the result is what is shipped in
# irg_jax/pretrained/shapes_base, once `python -m irg_jax.export_base` has written it there.
#
# usage: launch/shapes_base.sh [--help]
#
# The same command again resumes where it was stopped.
#
# Environment variables:
#
#   WORKDIR    folder of the runs; runs/shapes_base in the checkout if not given
#   CONFIG     config of the first run; shapes_base if not given
#   GOES_ON    config of the second run; shapes_base_own if not given
#   PICTURES   own pictures without guidance, and as many with it; 10000 if not given
#   PYTHON     the Python to use, 3.11 or newer; the newest on the PATH if not given
#   IRG_VENV   folder of the virtual environment; .venv in the checkout if not given
set -euo pipefail
# shellcheck source=environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

if [[ ${1-} == --help || ${1-} == -h ]]; then usage && exit; fi
if (($#)); then die "$1: takes no arguments; see --help"; fi
workdir=${WORKDIR:-$root/runs/shapes_base}

use_environment
python -m irg_jax.train --config "${CONFIG:-shapes_base}" --workdir "$workdir/base"

# paint NAME SEED TEXT_SCALE: paints pictures with this guidance into NAME/pictures, and writes NAME/samples about them.
paint() {
  local folder=$workdir/$1
  local samples=(python -m irg_jax.worlds.shapes.base --out "$folder" --seed "$2" --count "${PICTURES:-10000}")
  if [[ -e $folder/samples ]]; then return; fi
  "${samples[@]}"
  python -m irg_jax.generate --checkpoint "$workdir/base" --task text_to_image --batch_size 100 \
    --prompts "$folder/captions.txt" --out "$folder/pictures" \
    --sampling max_prompt=96 --sampling "turn1.text_scale=$3" --sampling 'turn1.interval=(0.0,1.0)'
  "${samples[@]}" --pictures "$folder/pictures"
}
paint own 100 1.0
paint guided 101 2.0

python -m irg_jax.train --config "${GOES_ON:-shapes_base_own}" --workdir "$workdir/goes_on"
