#!/usr/bin/env bash
# Trains on Cloud TPU by queued resources.
#
# usage: launch/tpu/tpu.sh SUBCOMMAND --name=NAME --project=PROJECT --zone=ZONE [OPTION...] [-- ARGUMENT...]
#
#   create    requests the TPU and returns; arguments after -- are checked before
#   wait      returns when the TPU is ready
#   install   installs the commit that is checked out here, with its dependencies, on every worker
#   run       trains on every worker and streams the logs; if training is running already it only streams, so that the
#             same command reconnects after a lost connection
#   stop      makes the running training save and exit
#   delete    deletes the TPU
#   train     checks the arguments, then create, wait, install and run. After a preemption all of these again; after a
#             failure of training (a crash, or storage that answers with errors) it runs again on the same TPU. Both
#             resume from the last checkpoint. At the end, after an error of the user (exit status 2), after too many
#             failures and after Ctrl-C (which saves first) the TPU is deleted.
#
# The arguments after -- go to `python -m irg_jax.train` (run and train). Its --workdir is in a bucket, or is a folder
# that all workers have mounted. Every gs://BUCKET is mounted on them as /gcs/BUCKET, the folder that training gets. The
# workers access buckets by their service account: no key or token is passed to them.
#
#   --accelerator_type=TYPE   for create and train, such as v5p-128, v5litepod-256 or v6e-64; or
#   --type=v5p --topology=4x4x4
#   --slices=1                number of slices
#   --capacity=on_demand      on_demand, spot or reserved
#   --runtime_version=VERSION software version of the workers; follows from the type if not given
#   --service_account=EMAIL   service account of the workers; the project's default one if not given
#   --poll=30                 seconds between two queries of the state; also before training runs again after its first
#                             failure, and twice as many after each further one
#   --settle=300              seconds to wait for the state to show that a failure was a preemption
#   --max_retries=10          failures in a row after which train gives up; an hour of training ends a row
#   --unchecked               does not check first that the arguments can be trained on so many devices
#   --dry_run                 prints the commands and runs none but the check
#   --help                    prints this
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=../lib.sh
source "$root/launch/lib.sh"
# shellcheck source=../buckets.sh
source "$root/launch/buckets.sh"
# shellcheck source=../check.sh
source "$root/launch/check.sh"

name='' project='' zone=''
accelerator_type='' type='' topology='' slices=1 capacity=on_demand runtime_version='' service_account=''
poll=30 settle=300 max_retries=10

# queued_resources VERB WORD...: calls gcloud with that verb, in this project and zone.
queued_resources() { run gcloud compute tpus queued-resources "$@" "--project=$project" "--zone=$zone"; }

# on_workers COMMAND: runs a line of shell on every worker of every slice. A worker that goes down does not close its
# connection, hence ssh's keep-alive.
on_workers() {
  queued_resources ssh "$name" --node=all --worker=all --batch-size=all --ssh-flag=-oServerAliveInterval=30 \
    "--command=$1"
}

# query_state ASSUMED: sets `state`, empty if there is no such queued resource. A dry run assumes the given state. Once
# a query has worked, later ones may fail for up to --settle seconds.
query_state() {
  local deadline=$((SECONDS + settle))
  until state=$(queued_resources list "--filter=name~/$name\$" "--format=value(state.state)"); do
    if [[ ! $connected ]] || ((SECONDS >= deadline)); then
      die "the state of $name cannot be read; see the lines of gcloud above"
    fi
    sleep "$poll"
  done
  connected=yes
  if [[ $dry_run ]]; then echo "$state" && state=$1; fi
}

# pause SECONDS: waits; unlike with sleep alone, signals are handled at once.
pause() {
  sleep "$1" >/dev/null 2>&1 &
  wait "$!"
}

# --- subcommands

# check_create: checks the options of create before anything is requested.
check_create() {
  case ${accelerator_type:+one}${type:+two}${topology:+three} in
    one | twothree) ;;
    *) die "give either --accelerator_type or both --type and --topology; see $0 --help" ;;
  esac
  require_counts slices
  [[ $capacity == @(on_demand|spot|reserved) ]] || die "--capacity=$capacity: not one of on_demand, spot, reserved"
  case $runtime_version:$accelerator_type$type in
    :v6e*) runtime_version=v2-alpha-tpuv6e ;;
    :v5p*) runtime_version=v2-alpha-tpuv5 ;;
    :v5lite* | :v5e*) runtime_version=v2-alpha-tpuv5-lite ;;
    :v[234]*) runtime_version=tpu-ubuntu2204-base ;;
    :*) die "no runtime version is known for '$accelerator_type$type'; give --runtime_version" ;;
  esac
}

create() {
  local what=("--runtime-version=$runtime_version")
  if [[ $accelerator_type ]]; then what+=("--accelerator-type=$accelerator_type"); fi
  if [[ $topology ]]; then what+=("--type=$type" "--topology=$topology"); fi
  if ((slices > 1)); then what+=("--node-count=$slices" "--node-prefix=$name"); else what+=("--node-id=$name"); fi
  if [[ $capacity != on_demand ]]; then what+=("--$capacity"); fi
  if [[ $service_account ]]; then what+=("--service-account=$service_account"); fi
  queued_resources create "$name" "${what[@]}" || {
    owned=''
    die "$name was refused; see the lines of gcloud above"
  }
}

# wait_until_active: returns 1 if the TPU was preempted before it was ready, after which train requests it again.
wait_until_active() {
  local before=''
  while :; do
    query_state ACTIVE
    [[ $state == "$before" || $dry_run ]] || note "$name: ${state:-does not exist}"
    case $state in
      ACTIVE) return ;;
      SUSPENDING | SUSPENDED) return 1 ;;
      '' | DELETING) die "$name: there is no such queued resource in $zone; create it with $0 create" ;;
      FAILED) die "$name: the request failed; 'gcloud compute tpus queued-resources describe $name' says why" ;;
    esac
    before=$state
    sleep "$poll"
  done
}

# require_commit: refuses changes, and a config, that would not be on the workers.
require_commit() {
  local changes config
  changes=$(run git -C "$root" status --porcelain --untracked-files=no)
  if [[ $dry_run ]]; then echo "$changes"; elif [[ $changes ]]; then
    die "$root has changes that are not committed, and only commits are installed; commit them first"
  fi
  config=$(argument config) && config=${config%%:*}
  [[ $config && -f $root/$config ]] || return 0
  changes=$(run git -C "$root" ls-files --others -- "$config")
  if [[ $dry_run ]]; then echo "$changes"; elif [[ $changes ]]; then
    die "--config=$config is not committed, and only commits are installed; commit it first"
  fi
}

install() {
  bundle=${TMPDIR:-/tmp}/irg_jax.$name.bundle
  run git -C "$root" bundle create --quiet "$bundle" HEAD &&
    queued_resources scp "$bundle" "$name:irg_jax.bundle" --node=all --worker=all --batch-size=all &&
    run rm -f "$bundle" &&
    on_workers "git init --quiet irg_jax && git -C irg_jax fetch --quiet ../irg_jax.bundle HEAD && \
git -C irg_jax checkout --quiet --force --detach FETCH_HEAD && irg_jax/launch/tpu/worker.sh install"
}

run_training() {
  local status=0
  on_workers "$(quoted irg_jax/launch/tpu/worker.sh start -- "${arguments[@]}")" || return
  # In its own process group, so that a Ctrl-C in the terminal reaches this script and not the stream.
  set -m
  on_workers "irg_jax/launch/tpu/worker.sh follow" </dev/null &
  stream=$!
  set +m
  wait "$stream" || status=$?
  stream=''
  return "$status"
}

stop() { on_workers "irg_jax/launch/tpu/worker.sh stop"; }

delete() { queued_resources delete "$name" --force --quiet; }

# --- training through preemptions

# attempt: creates the TPU unless it exists, installs unless that is done, and trains.
attempt() {
  query_state ''
  while [[ $state == @(SUSPENDING|DELETING) ]]; do sleep "$poll" && query_state ''; done
  # After a preemption the queued resource still exists, and its name cannot be used again.
  if [[ $state == @(SUSPENDED|FAILED) ]]; then
    delete || die "$name cannot be deleted; see the lines of gcloud above"
    state=''
  fi
  owned=yes
  if [[ ! $state ]]; then installed='' && create; fi
  wait_until_active && { [[ $installed ]] || install; } && installed=yes && run_training
}

# preempted: whether the TPU is gone, which its state shows only some time after the workers have gone down.
preempted() {
  local deadline=$((SECONDS + settle))
  until query_state '' && [[ $state != ACTIVE ]]; do
    ((SECONDS < deadline)) || return
    sleep "$poll"
  done
}

# train: what follows from an exit status is in launch/README.md.
train() {
  local status failures=0 seconds began=$SECONDS
  until attempt; do
    status=$?
    # 255 is ssh's own status: the connection to the workers is lost. Training continues there, or they are gone.
    if ((status == 255)) && [[ $installed ]]; then
      note "$name: connection lost; connecting again"
      pause "$poll"
      continue
    fi
    # 2 is an error of the user, 75 storage that answers with errors: neither is the sign of a preemption.
    if [[ $status != @(2|75) ]] && preempted; then
      note "$name: preempted; requesting it again, training resumes from its last checkpoint"
      began=$SECONDS
      continue
    fi
    if ((SECONDS - began > 3600)); then failures=0; fi
    # 130: somebody has stopped it.
    if [[ $status == @(2|130) || ! $installed ]] || ((failures++ >= max_retries)); then
      note "error: training exited with status $status, and not by a preemption; see the lines above"
      return "$status"
    fi
    seconds=$((poll << (failures < 6 ? failures - 1 : 5)))
    note "$name: training exited with status $status; running it again in $seconds s, retry $failures of $max_retries"
    pause "$seconds"
    began=$SECONDS
  done
}

# --- command line

state='' connected='' owned='' installed='' bundle='' stream=''
# finish: removes temporary files, stops streaming and, if this script created the TPU, deletes it.
finish() {
  local status=$?
  trap '' INT TERM HUP
  rm -f "$bundle"
  if [[ $stream ]]; then kill -INT -- "-$stream" 2>/dev/null || true; fi
  [[ ! $owned ]] || delete || note "error: $name is NOT deleted and costs money; delete it with $0 delete"
  exit "$status"
}
# interrupt STATUS: train makes training save and deletes the TPU; run leaves training running.
interrupt() {
  # A second Ctrl-C does not wait for training to save.
  trap 'exit 130' INT TERM HUP
  case $subcommand:${stream:+training} in
    train:training)
      note "stopping: training saves first"
      stop && wait "$stream" || true
      ;;
    run:training) note "training continues; the same command follows it again, '$0 stop' stops it" ;;
  esac
  exit "$1"
}

case ${1-} in
  create | wait | install | run | stop | delete | train) subcommand=$1 && shift ;;
  --help) usage && exit ;;
  *) die "'${1-}': not a subcommand; see $0 --help" ;;
esac
options="name project zone accelerator_type type topology slices capacity runtime_version service_account"
options+=" poll settle max_retries"
parse "$options" "$@"
require name project zone
[[ $name =~ ^[a-z][-a-z0-9]*$ ]] || die "--name=$name: not lower-case letters, digits and hyphens"
if [[ $subcommand == @(create|train) ]]; then check_create; fi
require_numbers poll settle max_retries
if [[ $subcommand == @(run|train) ]]; then require_shared_workdir; fi
require_tool gcloud "install the Google Cloud CLI"
if [[ $subcommand == train || ($subcommand == create && ${#arguments[@]} -gt 0) ]]; then
  count_devices "${accelerator_type:-$type}" "$topology"
  check_training "$((devices * slices))" "$root"
fi
if [[ $subcommand == @(install|train) ]]; then require_commit; fi
if [[ $subcommand == @(run|train) ]]; then require_renames; fi

trap finish EXIT
trap 'interrupt 130' INT
trap 'interrupt 143' TERM HUP
case $subcommand in
  run) run_training ;;
  wait) wait_until_active || die "$name: preempted before it was ready; request it again with $0 create" ;;
  *) "$subcommand" ;;
esac
