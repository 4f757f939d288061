# shellcheck shell=bash
# Checks the arguments of training for machines that are not at hand yet. Sourced after lib.sh, never run.

# Set by --unchecked, which only the launchers that source this file have.
unchecked=''
# The first of them that has irg_jax does the check; the second one is made by launch/environment.sh.
pythons=(python "${IRG_VENV:-$root/.venv}/bin/python")

# count_devices TYPE [TOPOLOGY]: sets `devices` to the number of devices that JAX has in one TPU slice. TYPE is such as
# v5p-128 or v6e-4x4; with a TOPOLOGY in chips, such as 4x4x4, it is only v5p or v6e.
count_devices() {
  local kind=${1%%-*} size=${2:-${1#*-}}
  devices=0
  [[ ! $unchecked ]] || return 0
  if [[ $size =~ ^[1-9][0-9]*(x[1-9][0-9]*){0,2}$ ]]; then
    # A topology counts chips.
    devices=$((${size//x/*}))
    case $kind:$size in
      v5litepod:* | v5lite:* | v5e:* | v6e:*) return ;;
      # Names count the two cores of each chip. JAX has one device per chip ...
      v4:*x* | v5p:*x*) return ;;
      v4:* | v5p:*) devices=$((devices / 2)) && return ;;
      # ... or one per core.
      v2:*x* | v3:*x* | tpu7x:*x*) devices=$((devices * 2)) && return ;;
      v2:* | v3:* | tpu7x:*) return ;;
    esac
  fi
  die "how many devices '$1' has is not known here, so the arguments cannot be checked; go on with --unchecked"
}

# check_training DEVICES FOLDER: ends this script with status 2 if the arguments cannot be trained on so many devices.
# Files of data and weights are not looked at. FOLDER is where training will run, from which it finds a config.
check_training() {
  local python found='' status=0
  [[ ! $unchecked ]] || return 0
  for python in "${pythons[@]}"; do
    # In a checkout irg_jax itself is found anyway, its configs only where it is installed.
    if "$python" -c 'import importlib.util, irg_jax.configs; assert importlib.util.find_spec("jax")' 2>/dev/null; then
      found=yes
      break
    fi
  done
  [[ $found ]] || die "irg_jax, which checks the arguments, is not installed for 'python'; activate its environment, \
or install it by 'pip install --editable $root', or go on with --unchecked"
  # Flags of the machine that trains may be unknown on this one.
  # shellcheck disable=SC2154  # lib.sh has the arguments
  (cd "$2" && env -u XLA_FLAGS JAX_PLATFORMS=cpu "$python" -m irg_jax.train --check_only "--devices=$1" \
    "--slices=${slices:-1}" "${arguments[@]}") </dev/null >&2 || status=$?
  case $status in
    0) ;;
    2) exit 2 ;;
    *) die "the check of the arguments ended with status $status, see the lines above; go on with --unchecked" ;;
  esac
}
