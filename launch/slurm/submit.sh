#!/usr/bin/env bash
# Trains on GPU nodes of a Slurm cluster: submits launch/slurm/train.sbatch.
#
# usage: launch/slurm/submit.sh [OPTION...] -- --config=FILE --workdir=FOLDER [ARGUMENT...]
#
# What stands after -- goes to `python -m irg_jax.train`. Its --workdir is on a disk that all nodes see; gs:// addresses
# are refused. The job has the environment of this shell: activate the one that irg_jax is installed in first. Before
# its time is up and when it is preempted the job saves, goes back to the queue under the same number, and goes on from
# its last checkpoint.
#
#   --nodes=1            nodes
#   --gpus_per_node=8    GPUs of each
#   --process_per=gpu    gpu or node: what one process drives
#   --time=24:00:00      until it is put back into the queue
#   --name=irg_jax       of the job, and of its log NAME-NUMBER.log
#   --partition=NAME     where it runs; the cluster's default if not given
#   --account=NAME       who pays; yours if not given
#   --dry_run            prints the command and runs nothing
#   --help               prints this
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=../lib.sh
source "$root/launch/lib.sh"

nodes=1 gpus_per_node=8 process_per=gpu time=24:00:00 name=irg_jax partition='' account=''
parse "nodes gpus_per_node process_per time name partition account" "$@"
require_counts nodes gpus_per_node
require time name
require_folders
require_tool sbatch "run this where jobs are submitted"
case $process_per in
  gpu) tasks=$gpus_per_node ;;
  node) tasks=1 ;;
  *) die "--process_per=$process_per: not one of gpu, node" ;;
esac

run sbatch "--job-name=$name" "--chdir=$root" "--time=$time" "--nodes=$nodes" "--gpus-per-node=$gpus_per_node" \
  "--ntasks-per-node=$tasks" ${partition:+"--partition=$partition"} ${account:+"--account=$account"} \
  "$root/launch/slurm/train.sbatch" -- "${arguments[@]}"
