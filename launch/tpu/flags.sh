# shellcheck shell=bash
# Flags of the TPU compiler for training, for all TPU launchers. Sourced, never run.
#
# Each flag is documented in https://docs.jax.dev/en/latest/xla_flags.html and its name is in libtpu 0.0.42.1. Their
# effect on speed has not been measured. An unknown flag stops libtpu at its start, so a newer libtpu may need lines
# removed. The user's own LIBTPU_INIT_ARGS come last and win. The latency hiding scheduler is libtpu's default and needs
# no flag.

tpu_flags=(
  # Overlaps all-gathers with computation: the weights of the next layer under fsdp.
  --xla_enable_async_all_gather=true
  # Fuses an asynchronous collective with computations that run at the same time.
  --xla_tpu_enable_async_collective_fusion=true
  # ... all-gathers too.
  --xla_tpu_enable_async_collective_fusion_fuse_all_gather=true
  # ... over several computations, if one is too short to hide it.
  --xla_tpu_enable_async_collective_fusion_multiple_steps=true
  # Lets one core compute and communicate at the same time.
  --xla_tpu_overlap_compute_collective_tc=true
  # With several slices: overlaps the all-reduce of gradients between slices with the backward pass.
  --xla_tpu_enable_data_parallel_all_reduce_opt=true
  # ... also for tensors of different sizes, at the cost of memory.
  --xla_tpu_data_parallel_opt_different_sized_ops=true
)
# shellcheck disable=SC2034  # for the script that sources this
LIBTPU_INIT_ARGS="${tpu_flags[*]}${LIBTPU_INIT_ARGS:+ $LIBTPU_INIT_ARGS}"
