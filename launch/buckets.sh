# shellcheck shell=bash
# Buckets as folders, which is all that training knows. Sourced after lib.sh, never run.

# gs://BUCKET/PATH is $mounts/BUCKET/PATH to training.
mounts=/gcs
# Every machine has a mount of its own: none may remember what another one may have changed. A folder is renamed in one
# step or, where the bucket cannot, not at all. gcsfuse's own choice on TPU machines is the opposite of both.
# shellcheck disable=SC2034  # for the scripts that source this
mount_options=(implicit-dirs metadata-cache-ttl-secs=0 metadata-cache-negative-ttl-secs=0 rename-dir-limit=0)
buckets=()

# find_buckets: names in `buckets` the bucket of every gs:// address among the arguments, each once, and puts the folder
# in the place of the address.
find_buckets() {
  local i rest bucket
  for i in "${!arguments[@]}"; do
    rest=${arguments[i]}
    while [[ $rest == *gs://* ]]; do
      rest=${rest#*gs://}
      bucket=${rest%%[!a-z0-9._-]*}
      [[ $bucket =~ ^[a-z0-9][a-z0-9._-]*[a-z0-9]$ ]] || die "'${arguments[i]}': no name of a bucket after gs://"
      [[ " ${buckets[*]} " == *" $bucket "* ]] || buckets+=("$bucket")
    done
    arguments[i]=${arguments[i]//gs:\/\//"$mounts/"}
  done
}

# require_renames: the bucket of --workdir renames folders in one step, which is how a checkpoint is completed. Asked
# before anything is paid for.
require_renames() {
  local bucket answer
  bucket=$(workdir)
  [[ $bucket == gs://* ]] || return 0
  bucket=${bucket#gs://} && bucket=gs://${bucket%%/*}
  answer=$(run gcloud storage buckets describe "$bucket" "--format=value(hierarchical_namespace.enabled)") ||
    die "$bucket cannot be read; see the lines of gcloud above"
  if [[ $dry_run ]]; then echo "$answer"; elif [[ $answer != True ]]; then
    die "$bucket has no hierarchical namespace, and --workdir needs one; a new bucket can have it, see launch/README.md"
  fi
}
