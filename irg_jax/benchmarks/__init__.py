"""The five benchmarks of the paper: their prompts, their layouts on disk, and their rules. No model code."""
