#!/usr/bin/env bash
# Trains on TPU slices of a GKE cluster by a JobSet: fills launch/gke/jobset.yaml and applies it.
#
# usage: launch/gke/jobset.sh --name=NAME --image=IMAGE --accelerator=v5p --topology=4x4x4 [OPTION...] -- ARGUMENT...
#
# What stands after -- goes to `python -m irg_jax.train`. Its --workdir is in a bucket. Every gs://BUCKET is mounted in
# the pods as /gcs/BUCKET, which is what training is given. kubectl must be connected to the cluster, which has JobSet,
# the Cloud Storage FUSE CSI driver, and node pools of that accelerator and topology; whether they are spot or reserved
# is theirs to say. After a preemption the pods start again, and training goes on from its last checkpoint.
#
#   --name=NAME            of the JobSet
#   --image=IMAGE          made of launch/containers/tpu.Dockerfile
#   --accelerator=TYPE     v4, v5e, v5p, v6e or tpu7x
#   --topology=4x4x4       of one slice, in chips
#   --chips_per_node=4     chips of one machine
#   --slices=1             slices of that size
#   --max_restarts=100     preemptions and failures after which it gives up
#   --namespace=default    of Kubernetes
#   --service_account=default   of Kubernetes, whose rights the pods have; it must be a user of the buckets' objects
#   --dry_run              prints the command with all that it applies, and runs nothing
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
# Kubernetes adds to the name and allows 63 characters.
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
require_renames
find_buckets

# json WORD: as a JSON string, which is one in YAML too.
json() {
  local word=$1
  word=${word//\\/\\\\} word=${word//\"/\\\"} word=${word//$'\n'/\\n} word=${word//$'\t'/\\t}
  printf '"%s"\n' "$word"
}

# fill KEY VALUE: puts the value where the template has {{KEY}}.
fill() { jobset=${jobset//"{{$1}}"/"$2"}; }

# Kubernetes would put an environment variable for $(NAME) in a command; $$(NAME) is $(NAME) to it.
dollar='$'
command='["python", "-m", "irg_jax.train"'
for word in "${arguments[@]}"; do
  word=${word//"$dollar("/"$dollar$dollar("}
  command+=", $(json "$word")"
done

# Names of buckets need no quoting.
annotations='' volumes='' volume_mounts=''
for i in "${!buckets[@]}"; do
  # No limits, which only a Standard cluster allows: what gcsfuse needs grows with the files that are written at once.
  annotations='"gke-gcsfuse/volumes": "true", "gke-gcsfuse/cpu-limit": "0", "gke-gcsfuse/memory-limit": "0", '
  annotations+='"gke-gcsfuse/ephemeral-storage-limit": "0"'
  volume_mounts+="{\"name\": \"bucket-$i\", \"mountPath\": \"$mounts/${buckets[i]}\"}, "
  # On the network of the nodes the pods would have the rights of the nodes.
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
# Last, so that braces in the user's own words stay.
fill command "$command]"

apply=(kubectl apply "--namespace=$namespace" --filename=-)
if [[ $dry_run ]]; then
  printf "%s <<'JOBSET'\n%s\nJOBSET\n" "$(quoted "${apply[@]}")" "$jobset"
else
  "${apply[@]}" <<<"$jobset"
fi
