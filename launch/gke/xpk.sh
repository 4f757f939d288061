#!/usr/bin/env bash
# Trains on TPU slices of a GKE cluster that xpk has made, by `xpk workload create`.
#
# usage: launch/gke/xpk.sh --name=NAME --cluster=CLUSTER --project=PROJECT --zone=ZONE --tpu_type=v5p-128 --image=IMAGE
#                          [OPTION...] -- ARGUMENT...
#
# What stands after -- goes to `python -m irg_jax.train`. Its --workdir is in a bucket. Every gs://BUCKET is attached to
# the cluster by `xpk storage attach`, where it stays, and mounted in the pods as /gcs/BUCKET, which is what training is
# given. After a preemption the pods start again, and training goes on from its last checkpoint.
#
#   --name=NAME          of the workload
#   --cluster=CLUSTER    that `xpk cluster create` has made
#   --tpu_type=TYPE      such as v5p-128, v5litepod-256 or v6e-64
#   --image=IMAGE        made of launch/containers/tpu.Dockerfile
#   --slices=1           slices of that size
#   --max_restarts=100   preemptions and failures after which it gives up
#   --dry_run            prints the command and runs nothing
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
  die "an argument after -- has a line break, which xpk loses; put it into a config file"
require_renames
find_buckets
# xpk's own shell stands before training: by exec the signal of a preemption comes to training itself.
command=$(quoted exec python -m irg_jax.train "${arguments[@]}")

where=("--cluster=$cluster" "--project=$project" "--zone=$zone")
storage=()
for bucket in "${buckets[@]}"; do
  # A name of Kubernetes has no dots and underscores. What is attached already stays as it is.
  run xpk storage attach "${bucket//[._]/-}" --type=gcsfuse "${where[@]}" "--bucket=$bucket" \
    "--mount-point=$mounts/$bucket" "--mount-options=$(IFS=, && echo "${mount_options[*]}")" \
    --size=1 --readonly=false --auto-mount=false
  storage+=("--storage=${bucket//[._]/-}")
done
# When another process of the run is gone, a process ends with 1 or by a signal (127 to 255, after which xpk starts
# again by itself); 2, an error of the user, is not tried again.
run xpk workload create "--workload=$name" "${where[@]}" \
  "--tpu-type=$tpu_type" "--num-slices=$slices" "--docker-image=$image" "${storage[@]}" \
  "--max-restarts=$max_restarts" --restart-on-exit-codes=1 --termination-grace-period-seconds=300 \
  --env=IRG_DISTRIBUTED=auto "--env=LIBTPU_INIT_ARGS=$LIBTPU_INIT_ARGS" \
  "--command=$command"
