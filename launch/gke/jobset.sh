#!/usr/bin/env bash
# Trains on TPU slices of a GKE cluster by a JobSet: fills launch/gke/jobset.yaml and applies it.
#
# usage: launch/gke/jobset.sh --name=NAME --image=IMAGE --accelerator=v5p --topology=4x4x4 [OPTION...] -- ARGUMENT...
#
# The arguments after -- go to `python -m irg_jax.train`. Its --workdir is in a bucket. Every gs://BUCKET is mounted in
# the pods as /gcs/BUCKET, the folder that training gets. kubectl must be connected to a cluster with JobSet, the Cloud
# Storage FUSE CSI driver, and node pools of that accelerator and topology; the node pools decide whether capacity is
# spot or reserved. After a preemption or a failure the pods start again, and training resumes from its last checkpoint;
# after an error of the user (exit status 2) they do not. The arguments are checked before anything is applied.
#
#   --name=NAME            name of the JobSet
#   --image=IMAGE          built from launch/containers/tpu.Dockerfile
#   --accelerator=TYPE     v4, v5e, v5p, v6e or tpu7x
#   --topology=4x4x4       topology of one slice, in chips
#   --chips_per_node=4     chips per node
#   --slices=1             number of slices
#   --max_restarts=100     preemptions and failures before it gives up
#   --namespace=default    Kubernetes namespace
#   --service_account=default   Kubernetes service account of the pods; it needs roles/storage.objectUser on the buckets
#   --unchecked            does not check first that the arguments can be trained on so many devices
#   --dry_run              prints the command with the manifest that it applies, and runs nothing but the check
#   --help                 prints this
#
# Afterwards:
#   kubectl logs --follow --prefix --selector=jobset.sigs.k8s.io/jobset-name=NAME
#   kubectl delete jobset NAME
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

name='' image='' accelerator='' topology='' chips_per_node=4 slices=1 max_restarts=100
namespace=default service_account=default
parse "name image accelerator topology chips_per_node slices max_restarts namespace service_account" "$@"
require name image accelerator topology namespace service_account
require_counts chips_per_node slices max_restarts
require_shared_workdir
require_tool kubectl "install it, and connect it to the cluster"
require_tool gcloud "install the Google Cloud CLI"
# Kubernetes appends to the name and allows 63 characters.
[[ $name =~ ^[a-z][-a-z0-9]{0,39}$ ]] || die "--name=$name: not up to 40 lower-case letters, digits and hyphens"
[[ $topology =~ ^[1-9][0-9]*(x[1-9][0-9]*){1,2}$ ]] || die "--topology=$topology: not like 4x4 or 4x4x4"

case $accelerator in
  v4) tpu='tpu-v4-podslice' ;;
  v5e) tpu='tpu-v5-lite-podslice' ;;
  v5p) tpu='tpu-v5p-slice' ;;
  v6e) tpu='tpu-v6e-slice' ;;
  tpu7x) tpu='tpu7x' ;;
  *) die "--accelerator=$accelerator: not one of v4, v5e, v5p, v6e, tpu7x" ;;
esac
chips=$((${topology//x/*}))
nodes=$((chips / chips_per_node))
((nodes * chips_per_node == chips)) ||
  die "--topology=$topology: $chips chips are not whole nodes of --chips_per_node=$chips_per_node"
count_devices "$accelerator" "$topology"
check_training "$((devices * slices))" "$root"
require_renames
find_buckets

# json WORD: prints the word as a JSON string, which is also a YAML string.
json() {
  local word=$1
  word=${word//\\/\\\\} word=${word//\"/\\\"} word=${word//$'\n'/\\n} word=${word//$'\t'/\\t}
  printf '"%s"\n' "$word"
}

# fill KEY VALUE: replaces {{KEY}} in the template by the value.
fill() { jobset=${jobset//"{{$1}}"/"$2"}; }

# Kubernetes expands $(NAME) in a command to an environment variable; $$(NAME) escapes it.
dollar='$'
command='["python", "-m", "irg_jax.train"'
for word in "${arguments[@]}"; do
  word=${word//"$dollar("/"$dollar$dollar("}
  command+=", $(json "$word")"
done

# Bucket names need no quoting.
annotations='' volumes='' volume_mounts=''
for i in "${!buckets[@]}"; do
  # No limits, which only Standard clusters allow: gcsfuse needs memory for each file that is being written.
  annotations='"gke-gcsfuse/volumes": "true", "gke-gcsfuse/cpu-limit": "0", "gke-gcsfuse/memory-limit": "0", '
  annotations+='"gke-gcsfuse/ephemeral-storage-limit": "0"'
  volume_mounts+="{\"name\": \"bucket-$i\", \"mountPath\": \"$mounts/${buckets[i]}\"}, "
  # Pods on the network of the nodes would otherwise use the service account of the nodes.
  volumes+="{\"name\": \"bucket-$i\", \"csi\": {\"driver\": \"gcsfuse.csi.storage.gke.io\", \"volumeAttributes\": \
{\"bucketName\": \"${buckets[i]}\", \"mountOptions\": \"$(IFS=, && echo "${mount_options[*]}")\", \
\"hostNetworkPodKSA\": \"true\"}}}, "
done

jobset=$(<"$root/launch/gke/jobset.yaml")
fill name "$name"
fill slices "$slices"
fill nodes "$nodes"
fill tpu "$tpu"
fill topology "$topology"
fill chips_per_node "$chips_per_node"
fill max_restarts "$max_restarts"
fill service_account "$(json "$service_account")"
fill image "$(json "$image")"
fill annotations "{$annotations}"
fill volumes "[${volumes%, }]"
fill volume_mounts "[${volume_mounts%, }]"
fill flags "$(json "$LIBTPU_INIT_ARGS")"
# Last, so that braces in the user's arguments are kept.
fill command "$command]"

apply=(kubectl apply "--namespace=$namespace" --filename=-)
if [[ $dry_run ]]; then
  printf "%s <<'JOBSET'\n%s\nJOBSET\n" "$(quoted "${apply[@]}")" "$jobset"
else
  "${apply[@]}" <<<"$jobset"
fi
