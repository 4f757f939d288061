# shellcheck shell=bash
# Flags of the TPU compiler for training, for every launcher that uses TPUs. Sourced, never run.
#
# Each is a documented choice of the compiler, named in https://docs.jax.dev/en/latest/xla_flags.html, and each name is
# in libtpu 0.0.42.1. The gain of none is measured here. An unknown flag stops libtpu when it starts, so that a newer
# libtpu may need lines taken out. What LIBTPU_INIT_ARGS already holds comes last and wins. The latency hiding scheduler
# is libtpu's own choice and needs no flag.

tpu_flags=(
  # Starts an all-gather and goes on computing: the weights of the next layer under fsdp.
  --xla_enable_async_all_gather=true
  # Fuses a collective that is under way with the computations beside it.
  --xla_tpu_enable_async_collective_fusion=true
  # ... all-gathers too.
  --xla_tpu_enable_async_collective_fusion_fuse_all_gather=true
  # ... over several computations, where one is too short to hide it.
  --xla_tpu_enable_async_collective_fusion_multiple_steps=true
  # Lets one core compute and communicate at once.
  --xla_tpu_overlap_compute_collective_tc=true
  # Several slices: hides the all-reduce of gradients between slices behind the backward pass.
  --xla_tpu_enable_data_parallel_all_reduce_opt=true
  # ... also where the tensors differ in size, for more memory.
  --xla_tpu_data_parallel_opt_different_sized_ops=true
)
# shellcheck disable=SC2034  # for the script that sources this
LIBTPU_INIT_ARGS="${tpu_flags[*]}${LIBTPU_INIT_ARGS:+ $LIBTPU_INIT_ARGS}"
