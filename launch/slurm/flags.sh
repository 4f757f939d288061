# shellcheck shell=bash
# Flags of the GPU compiler for training. Sourced, never run.
#
# jaxlib 0.10.2 knows each name, which a test checks; an unknown one stops jax at its start. Their effect on speed has
# not been measured. The user's own XLA_FLAGS come last and win.

gpu_flags=(
  # Schedules the step so that collectives overlap with computation.
  --xla_gpu_enable_latency_hiding_scheduler=true
  # In the scan over layers: gathers the weights of the next layer while this one computes (fsdp) ...
  --xla_gpu_enable_pipelined_all_gather=true
  # ... reduce-scatters the gradients of the previous one ...
  --xla_gpu_enable_pipelined_reduce_scatter=true
  # ... and all-reduces over the data and tensor axes.
  --xla_gpu_enable_pipelined_all_reduce=true
  # Unrolls that loop by two, so that the gathered weights of the next layer need not be copied.
  --xla_gpu_enable_while_loop_double_buffering=true
)
# shellcheck disable=SC2034  # for the script that sources this
XLA_FLAGS="${gpu_flags[*]}${XLA_FLAGS:+ $XLA_FLAGS}"
