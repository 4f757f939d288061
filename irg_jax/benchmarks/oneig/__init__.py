"""OneIG-Bench in English (Chang et al., 2025, arXiv 2506.07977): 1,120 prompts, four images each, five metrics.

A ``Benchmark``; the rules are those of OneIG-Bench/OneIG-Benchmark@41b4983.
"""

from irg_jax.benchmarks.oneig.layout import find_images, write_layout
from irg_jax.benchmarks.oneig.prompts import NAME, TITLE, read_prompts
from irg_jax.benchmarks.oneig.summary import summarise

__all__ = ["NAME", "TITLE", "find_images", "read_prompts", "summarise", "write_layout"]
