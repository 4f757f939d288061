#!/usr/bin/env bash
# Trains on GPU nodes of a Slurm cluster: submits launch/slurm/train.sbatch.
#
# usage: launch/slurm/submit.sh [OPTION...] -- --config=CONFIG --workdir=FOLDER [ARGUMENT...]
#
# The arguments after -- go to `python -m irg_jax.train`. Its --workdir is on a disk that all nodes see; gs:// addresses
# are refused. The job inherits the environment of this shell: activate the one that irg_jax is installed in first.
# Before its time limit and when it is preempted the job saves, is requeued with the same job id, and resumes from its
# last checkpoint. So it does after a failure, but not after an error of the user (exit status 2). The arguments are
# checked before the job is submitted.
#
#   --nodes=1            number of nodes
#   --gpus_per_node=8    GPUs per node
#   --process_per=gpu    gpu or node: one process per GPU, or one that drives all GPUs of its node
#   --time=24:00:00      time limit, after which the job is requeued
#   --name=irg_jax       name of the job, and of its log NAME-JOBID.log
#   --partition=NAME     partition to run in; the cluster's default if not given
#   --account=NAME       account to charge; yours if not given
#   --max_restarts=10    restarts of the job, for whatever reason, after which a failure ends it
#   --unchecked          does not check first that the arguments can be trained on so many GPUs
#   --dry_run            prints the command and runs nothing but the check
#   --help               prints this
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=../lib.sh
source "$root/launch/lib.sh"
# shellcheck source=../check.sh
source "$root/launch/check.sh"

nodes=1 gpus_per_node=8 process_per=gpu time=24:00:00 name=irg_jax partition='' account='' max_restarts=10
parse "nodes gpus_per_node process_per time name partition account max_restarts" "$@"
require_counts nodes gpus_per_node
require_numbers max_restarts
require time name
require_folders
require_tool sbatch "run this on a login node of the cluster"
case $process_per in
  gpu) tasks=$gpus_per_node ;;
  node) tasks=1 ;;
  *) die "--process_per=$process_per: not one of gpu, node" ;;
esac
# The job takes the environment of this shell along.
pythons=(python)
check_training "$((nodes * gpus_per_node))" "$root"

run sbatch "--job-name=$name" "--chdir=$root" "--time=$time" "--nodes=$nodes" "--gpus-per-node=$gpus_per_node" \
  "--ntasks-per-node=$tasks" ${partition:+"--partition=$partition"} ${account:+"--account=$account"} \
  "$root/launch/slurm/train.sbatch" "--max_restarts=$max_restarts" -- "${arguments[@]}"
