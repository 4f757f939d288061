"""The five benchmarks, from a checkpoint to a score."""
