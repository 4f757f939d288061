#!/usr/bin/env bash
# Runs the tests from a fresh clone: makes the environment, with the tools that the tests need, and calls pytest.
#
# usage: launch/test.sh [ARGUMENT...]
#
# The arguments are passed to `python -m pytest -n 2`, which runs in the root of the checkout, such as
#
#   tests/core       one folder
#   -k mesh          tests with that word in their names
#   -n 0             in one process
#   --help           prints this
#
# Environment variables:
#
#   PYTHON     the Python to use, 3.11 or newer; the newest on the PATH if not given
#   IRG_VENV   folder of the virtual environment; .venv in the checkout if not given
set -euo pipefail
# shellcheck source=environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

if [[ ${1-} == --help || ${1-} == -h ]]; then usage && exit; fi

use_environment test
cd "$root"
exec python -m pytest -n 2 "$@"
