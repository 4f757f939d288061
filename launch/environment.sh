# shellcheck shell=bash
# The virtual environment of launch/quickstart.sh, launch/test.sh and .ci/run. Sourced, never run; works with bash 3.2,
# the version that macOS has.
#
# Two files in the environment record its state: .installed holds the fingerprint of what is installed, and .unfinished
# exists from the beginning of a set-up to its end, so that an interrupted one is noticed.

root=$(CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=messages.sh
source "$root/launch/messages.sh"

# fingerprint PYTHON: prints what decides which packages are installed, as `cpython-311 DIGEST`: the version of the
# interpreter, this checkout and its setup.py and pyproject.toml. Fails where PYTHON does not run or is older than 3.11.
fingerprint() {
  "$1" -ISc '
import hashlib, sys
if sys.version_info < (3, 11):
    sys.exit(1)
digest = hashlib.sha256(sys.argv[1].encode("utf-8", "surrogateescape"))
for name in ("setup.py", "pyproject.toml"):
    with open(sys.argv[1] + "/" + name, "rb") as file:
        digest.update(b"\0" + file.read())
print(sys.implementation.cache_tag, digest.hexdigest())
' "$root" 2>/dev/null
}

# find_python: prints the newest Python on the PATH; fails where none is 3.11 or newer.
find_python() {
  local candidate
  for candidate in python3.{40..11} python3 python; do
    # Running it is the test: a shim of pyenv is there for versions that are not active, too.
    if fingerprint "$candidate" >/dev/null; then
      printf '%s\n' "$candidate"
      return
    fi
  done
  return 1
}

# create_environment PYTHON: makes the virtual environment in $venv. What exists there is kept.
create_environment() {
  if command -v uv >/dev/null; then
    # uv's own choice of an interpreter may differ from what the name means on this PATH.
    uv venv --quiet --no-project --allow-existing --python "$("$1" -ISc 'import sys; print(sys.executable)')" "$venv"
  else
    "$1" -m venv "$venv"
  fi
}

# install_packages EXTRA [OPTION]: installs irg_jax, editable, with that extra of setup.py. EXTRA may be empty, OPTION
# is --reinstall: what an interruption has left is not trusted.
install_packages() {
  local package=.${1:+[$1]} option=${2-}
  if command -v uv >/dev/null; then
    (cd "$root" && uv pip install --quiet --python "$venv/bin/python" ${option:+"$option"} --editable "$package")
    return
  fi
  # An interrupted set-up, or uv, leaves an environment without pip.
  "$venv/bin/python" -m pip --version >/dev/null 2>&1 ||
    "$venv/bin/python" -m ensurepip --upgrade --default-pip >/dev/null || return
  (cd "$root" && "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    ${option:+--force-reinstall} --editable "$package")
}

# set_up_environment EXTRA PYTHON: makes the virtual environment, if PYTHON is not empty, and installs irg_jax with that
# extra of setup.py.
set_up_environment() {
  local extra=$1 python=$2 option=''
  [[ ! $python || ! -e $venv || -e $venv/pyvenv.cfg || -e $venv/.unfinished || ! $(ls -A "$venv") ]] ||
    die "$venv: not a virtual environment and not empty; remove it, or name another folder by IRG_VENV"
  note "setting up $venv (takes a minute or two, once) ..."
  mkdir -p "$venv" || die "$venv: cannot be made; name another folder by IRG_VENV"
  if [[ -e $venv/.unfinished ]]; then option=--reinstall; fi
  : >"$venv/.unfinished"
  rm -f "$venv/.installed"
  if [[ $python ]]; then
    # What was installed for another version of Python is of no use. Files that begin with a dot stay.
    rm -rf "${venv:?}"/*
    create_environment "$python" ||
      die "$venv: cannot be made; see the lines above (on Debian and Ubuntu, install python3-venv)"
  fi
  install_packages "$extra" "$option" ||
    die "the installation failed; see the lines above and repeat the command (another Python: PYTHON=python3.12 $0)"
  printf '%s\n' "$(fingerprint "$venv/bin/python")${extra:+ $extra}" >"$venv/.installed"
  rm -f "$venv/.unfinished"
}

# use_environment [EXTRA]: activates the environment, after making sure that it has irg_jax with that extra of setup.py.
# Sets `venv`.
use_environment() {
  local extra=${1-} python=${PYTHON-} wanted='' current='' installed=''
  venv=${IRG_VENV:-$root/.venv}
  [[ $venv == /* ]] || venv=$PWD/$venv
  # Without pyvenv.cfg, bin/python would be the system's Python.
  if [[ -e $venv/pyvenv.cfg ]]; then current=$(fingerprint "$venv/bin/python") || current=''; fi
  if [[ $python ]]; then
    wanted=$(fingerprint "$python") || die "PYTHON=$python: does not run, or is older than Python 3.11"
  elif [[ ! $current ]]; then
    python=$(find_python) ||
      die "no Python 3.11 or newer is on the PATH; install one, or name it: PYTHON=/path/to/python $0"
  fi
  # A working environment is kept, unless PYTHON asks for another version.
  if [[ $current && ( ! $wanted || $wanted == "$current" ) ]]; then python=''; fi

  if [[ -e $venv/.installed ]]; then installed=$(cat "$venv/.installed"); fi
  # Where an extra is installed, so is everything that the package itself needs.
  if [[ $python || -e $venv/.unfinished || "$installed " != "$current ${extra:+$extra }"* ]]; then
    set_up_environment "$extra" "$python"
  fi
  export VIRTUAL_ENV=$venv PATH="$venv/bin:$PATH"
}
