#!/usr/bin/env bash
# The paper's pipeline on the shapes world, from a fresh clone: the base paints its own weak images for training prompts
# in the manners of five benchmarks, the world's oracle, asked over HTTP as a hosted teacher would be, plans, improves the
# images and reflects on both, and both stages are trained on what that gives and evaluated with controls. A quarter of an
# hour on two CPU cores.
#
# usage: launch/shapes_irg.sh [ARGUMENT...]
#
# The same command again resumes where it was stopped. The arguments are passed to `python -m irg_jax.train`, such as
# --config=shapes_irg:400,500 for shorter stages, or --help to print this.
#
# Environment variables:
#
#   WORKDIR    folder of the run; runs/shapes_irg in the checkout if not given
#   BASE       folder of the weights that paint the weak images; the shipped base if not given
#   RECORDS    training records whose prompts are painted, 8000 if not given; prompts that repeat are painted once
#   PYTHON     the Python to use, 3.11 or newer; the newest on the PATH if not given
#   IRG_VENV   folder of the virtual environment; .venv in the checkout if not given
set -euo pipefail
# shellcheck source=environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

if [[ ${1-} == --help || ${1-} == -h ]]; then usage && exit; fi
workdir=${WORKDIR:-$root/runs/shapes_irg} base=${BASE:-$root/irg_jax/pretrained/shapes_base}

use_environment test # whose extra has the client that asks the oracle
mkdir -p "$workdir"
python -m irg_jax.worlds.shapes --out "$workdir/data/shapes" --train "${RECORDS:-8000}" \
  --manners geneval,wise,tiif,genai_bench,oneig --prompts "$workdir/prompts.txt"

if [[ ! -e $workdir/data/own ]]; then
  # The oracle prints its address once it listens, at a port that is free.
  python -m irg_jax.worlds.shapes.oracle --data "$workdir/data/shapes" --port 0 >"$workdir/oracle.url" &
  oracle=$!
  trap 'kill "$oracle" 2>/dev/null || true' EXIT
  until [[ -s $workdir/oracle.url ]]; do
    kill -0 "$oracle" 2>/dev/null || die 'the oracle did not start, see the lines above'
    sleep 0.2
  done
  url=$(<"$workdir/oracle.url")
  python -m irg_jax.curate --config shapes_irg_curate --prompts "$workdir/prompts.txt" --out "$workdir/curated" \
    "--config.image1.checkpoint=$base" "--config.thinking1.base_url=$url" "--config.image2.base_url=$url" \
    "--config.thinking2.base_url=$url"
  kill "$oracle"
  python -m irg_jax.build_data irgl --from "records:$workdir/curated/records.jsonl" --out "$workdir/data/own"
fi

if [[ " $*" != *" --config"[\ =]* ]]; then set -- --config shapes_irg "$@"; fi
python -m irg_jax.train --workdir "$workdir" "$@"
