# shellcheck shell=bash
# Maps buckets to folders, since training only uses folders. Sourced after lib.sh, never run.

# Training gets $mounts/BUCKET/PATH instead of gs://BUCKET/PATH.
mounts=/gcs
# Each machine has its own mount, so that none may cache metadata that another machine can change. A rename of a folder
# is atomic or, where the bucket cannot do that, fails. gcsfuse's defaults on TPU machines are the opposite of both.
# shellcheck disable=SC2034  # for the scripts that source this
mount_options=(implicit-dirs metadata-cache-ttl-secs=0 metadata-cache-negative-ttl-secs=0 rename-dir-limit=0)
buckets=()

# find_buckets: sets `buckets` to the buckets of all gs:// addresses among the arguments, without duplicates, and
# replaces the addresses by folders.
find_buckets() {
  local i rest bucket
  for i in "${!arguments[@]}"; do
    rest=${arguments[i]}
    while [[ $rest == *gs://* ]]; do
      rest=${rest#*gs://}
      bucket=${rest%%[!a-z0-9._-]*}
      [[ $bucket =~ ^[a-z0-9][a-z0-9._-]*[a-z0-9]$ ]] || die "'${arguments[i]}': no bucket name after gs://"
      [[ " ${buckets[*]} " == *" $bucket "* ]] || buckets+=("$bucket")
    done
    arguments[i]=${arguments[i]//gs:\/\//"$mounts/"}
  done
}

# require_renames: refuses a --workdir in a bucket without atomic renames of folders, by which a checkpoint is
# completed. Called before any machine is requested.
require_renames() {
  local bucket answer
  bucket=$(argument workdir)
  [[ $bucket == gs://* ]] || return 0
  bucket=${bucket#gs://} && bucket=gs://${bucket%%/*}
  answer=$(run gcloud storage buckets describe "$bucket" "--format=value(hierarchical_namespace.enabled)") ||
    die "$bucket cannot be read; see the lines of gcloud above"
  if [[ $dry_run ]]; then echo "$answer"; elif [[ $answer != True ]]; then
    die "$bucket has no hierarchical namespace, and --workdir needs one; a new bucket can have it, see launch/README.md"
  fi
}
