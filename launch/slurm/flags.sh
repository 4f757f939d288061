# shellcheck shell=bash
# Flags of the GPU compiler for training. Sourced, never run.
#
# Each name is known to jaxlib 0.10.2, as a test makes sure; an unknown one stops jax when it starts. The gain of none
# is measured here. What XLA_FLAGS already holds comes last and wins.

gpu_flags=(
  # Orders the step so that collectives run beside computations instead of between them.
  --xla_gpu_enable_latency_hiding_scheduler=true
  # Over the scanned layers: gathers the weights of the next layer while this one computes (fsdp) ...
  --xla_gpu_enable_pipelined_all_gather=true
  # ... scatters the gradients of the one before ...
  --xla_gpu_enable_pipelined_reduce_scatter=true
  # ... and sums what several devices hold of it (data, tensor).
  --xla_gpu_enable_pipelined_all_reduce=true
  # Unrolls that loop by two, so that what is gathered for the next layer need not be copied.
  --xla_gpu_enable_while_loop_double_buffering=true
)
# shellcheck disable=SC2034  # for the script that sources this
XLA_FLAGS="${gpu_flags[*]}${XLA_FLAGS:+ $XLA_FLAGS}"
