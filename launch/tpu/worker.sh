#!/usr/bin/env bash
# Runs on every worker of a TPU, called by tpu.sh, in the checkout that tpu.sh has installed there.
#
# usage: launch/tpu/worker.sh install | start -- ARGUMENT... | follow | stop   [--dry_run] [--help]
#
#   install   installs the environment, with the pinned versions of launch/containers/constraints.txt, and gcsfuse
#   start     mounts the bucket of each gs:// address below /gcs and starts `python -m irg_jax.train ARGUMENT...`, with
#             folders in place of the addresses, so that it outlives this connection; does nothing if it is running
#   follow    prints its log, each line after the worker's name, until it exits; exits with the same status
#   stop      makes it save and exit, and waits for that
#
# The environment, the log, the process id and the exit status are in ~/.irg_jax.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=../lib.sh
source "$root/launch/lib.sh"
# shellcheck source=../buckets.sh
source "$root/launch/buckets.sh"
folder=$HOME/.irg_jax
gcsfuse_version=3.9.2

install() {
  local uv=$HOME/.local/bin/uv
  # The TPU images have Python 3.10; uv downloads the version that irg_jax needs.
  run python3 -m pip install --quiet --user uv
  run "$uv" venv --quiet --allow-existing --python=3.11 "$folder/venv"
  run "$uv" pip install --quiet "--python=$folder/venv" "--constraint=$root/launch/containers/constraints.txt" \
    "--editable=${root}[tpu]"
  command -v gcsfuse >/dev/null || install_gcsfuse
}

install_gcsfuse() {
  local site=https://packages.cloud.google.com/apt key=/usr/share/keyrings/cloud.google.asc codename
  codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
  run sudo curl --fail --silent --show-error --location "--output=$key" "$site/doc/apt-key.gpg"
  run sudo bash -c "echo 'deb [signed-by=$key] $site gcsfuse-$codename main' >/etc/apt/sources.list.d/gcsfuse.list"
  # A worker that has just booted may be running its own updates.
  run sudo apt-get --quiet --option=DPkg::Lock::Timeout=300 update
  run sudo apt-get --quiet --yes --option=DPkg::Lock::Timeout=300 install "gcsfuse=$gcsfuse_version"
}

# mount_bucket BUCKET: mounts it unless it is mounted. It stays mounted until the TPU is deleted.
mount_bucket() {
  local target=$mounts/$1
  if mountpoint --quiet "$target"; then return; fi
  # Removes the stale mount of a gcsfuse process that died.
  run fusermount -u -z "$target" 2>/dev/null || true
  run sudo mkdir -p "$target"
  run sudo chown "$(id -u)" "$target"
  run gcsfuse "${mount_options[@]/#/--}" "$1" "$target" && return
  note "error: gs://$1 cannot be mounted on $HOSTNAME; see the lines of gcsfuse above"
  # Where training has run before, the bucket could be mounted, and the storage is to blame.
  if [[ -e $folder/command ]]; then exit 75; else exit 2; fi
}

running() { [[ -s $folder/pid && ! -e $folder/status ]] && kill -0 "$(<"$folder/pid")" 2>/dev/null; }

start() {
  local command bucket status=0
  require_training
  # shellcheck source=flags.sh
  source "$root/launch/tpu/flags.sh"
  find_buckets
  command=(
    env IRG_DISTRIBUTED=auto "LIBTPU_INIT_ARGS=$LIBTPU_INIT_ARGS"
    "$folder/venv/bin/python" -m irg_jax.train "${arguments[@]}"
  )
  if [[ $dry_run ]]; then
    for bucket in "${buckets[@]}"; do mount_bucket "$bucket"; done
    quoted "${command[@]}"
    return
  fi
  if running; then
    [[ $(<"$folder/command") == "$(quoted "${command[@]}")" ]] ||
      die "another training is running on $HOSTNAME: $(<"$folder/command"); stop it first with tpu.sh stop"
    return
  fi
  for bucket in "${buckets[@]}"; do mount_bucket "$bucket" </dev/null; done
  mkdir -p "$folder"
  rm -f "$folder/pid" "$folder/status" "$folder/followed"
  quoted "${command[@]}" >"$folder/command"
  cd "$root"
  {
    "${command[@]}" &
    echo "$!" >"$folder/pid"
    wait "$!" || status=$?
    echo "$status" >"$folder/status"
  } </dev/null >"$folder/log" 2>&1 &
  until [[ -s $folder/pid ]]; do sleep 0.05; done
}

follow() {
  local lines=+1
  [[ -s $folder/pid ]] || die "no training was started on $HOSTNAME; start it with tpu.sh run"
  # After a lost connection, only the last lines.
  if [[ -e $folder/followed ]]; then lines=20; fi
  touch "$folder/followed"
  tail "--lines=$lines" --follow "--pid=$(<"$folder/pid")" "$folder/log" | sed --unbuffered "s/^/[$HOSTNAME] /"
  # The status is written shortly after the process has exited, unless the worker itself went down.
  for _ in {1..50}; do
    [[ -s $folder/status ]] && exit "$(<"$folder/status")"
    sleep 0.1
  done
  note "error: training on $HOSTNAME exited without a status; see $folder/log there"
  exit 1
}

stop() {
  running || return 0
  kill -TERM "$(<"$folder/pid")"
  while running; do sleep 0.2; done
}

case ${1-} in
  install | start | follow | stop) subcommand=$1 && shift ;;
  --help) usage && exit ;;
  *) die "'${1-}': not a subcommand; see $0 --help" ;;
esac
parse "" "$@"
"$subcommand"
