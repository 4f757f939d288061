#!/usr/bin/env bash
# Trains on TPU slices of a GKE cluster that was created with xpk, by `xpk workload create`.
#
# usage: launch/gke/xpk.sh --name=NAME --cluster=CLUSTER --project=PROJECT --zone=ZONE --tpu_type=v5p-128 --image=IMAGE
#                          [OPTION...] -- ARGUMENT...
#
# The arguments after -- go to `python -m irg_jax.train`. Its --workdir is in a bucket. Every gs://BUCKET is attached to
# the cluster by `xpk storage attach`, stays attached, and is mounted in the pods as /gcs/BUCKET, the folder that
# training gets. After a preemption or a failure the pods start again, and training resumes from its last checkpoint;
# after an error of the user (exit status 2) they do not. The arguments are checked before anything is requested.
#
#   --name=NAME          name of the workload
#   --cluster=CLUSTER    cluster that `xpk cluster create` has created
#   --tpu_type=TYPE      such as v5p-128, v5litepod-256 or v6e-64
#   --image=IMAGE        built from launch/containers/tpu.Dockerfile
#   --slices=1           number of slices
#   --max_restarts=100   preemptions and failures before it gives up
#   --unchecked          does not check first that the arguments can be trained on so many devices
#   --dry_run            prints the commands and runs nothing but the check
#   --help               prints this
#
# Afterwards:
#   xpk workload list --cluster=CLUSTER
#   xpk workload delete --workload=NAME --cluster=CLUSTER
#   xpk storage detach BUCKET --cluster=CLUSTER
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=../lib.sh
source "$root/launch/lib.sh"
# shellcheck source=../buckets.sh
source "$root/launch/buckets.sh"
# shellcheck source=../check.sh
source "$root/launch/check.sh"
# shellcheck source=../tpu/flags.sh
source "$root/launch/tpu/flags.sh"

name='' cluster='' project='' zone='' tpu_type='' image='' slices=1 max_restarts=100
parse "name cluster project zone tpu_type image slices max_restarts" "$@"
require name cluster project zone tpu_type image
require_counts slices max_restarts
require_shared_workdir
require_tool xpk "install it with 'pip install xpk'"
require_tool gcloud "install the Google Cloud CLI"
[[ ${arguments[*]} != *$'\n'* ]] ||
  die "an argument after -- has a line break, which xpk drops; put the value into a config file"
count_devices "$tpu_type"
check_training "$((devices * slices))" "$root"
require_renames
find_buckets
# xpk runs the command in a shell: with exec, training itself receives the signal of a preemption.
command=$(quoted exec python -m irg_jax.train "${arguments[@]}")

where=("--cluster=$cluster" "--project=$project" "--zone=$zone")
storage=()
for bucket in "${buckets[@]}"; do
  # Kubernetes names have no dots or underscores. A bucket that is attached already is not changed.
  run xpk storage attach "${bucket//[._]/-}" --type=gcsfuse "${where[@]}" "--bucket=$bucket" \
    "--mount-point=$mounts/$bucket" "--mount-options=$(IFS=, && echo "${mount_options[*]}")" \
    --size=1 --readonly=false --auto-mount=false
  storage+=("--storage=${bucket//[._]/-}")
done
# xpk restarts by itself after 127 to 255, such as a signal. 1 is a crash, 75 storage that answers with errors; 2, an
# error of the user, is not retried.
run xpk workload create "--workload=$name" "${where[@]}" \
  "--tpu-type=$tpu_type" "--num-slices=$slices" "--docker-image=$image" "${storage[@]}" \
  "--max-restarts=$max_restarts" --restart-on-exit-codes=1,75 --termination-grace-period-seconds=300 \
  --env=IRG_DISTRIBUTED=auto "--env=LIBTPU_INIT_ARGS=$LIBTPU_INIT_ARGS" \
  "--command=$command"
