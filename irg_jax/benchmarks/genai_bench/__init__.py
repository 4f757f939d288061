"""GenAI-Bench: 1,600 prompts by ten skills of composition, scored by VQAScore (Li et al. 2024, arXiv 2406.13743).

It is that of CMU, not the arena of the same name. Facts are from linzhiqiu/t2v_metrics@6ecb74f.
"""

from irg_jax.benchmarks.genai_bench.layout import find_images, write_layout
from irg_jax.benchmarks.genai_bench.prompts import NAME, read_prompts
from irg_jax.benchmarks.genai_bench.scoring import summarise

TITLE = "GenAI-Bench"

__all__ = ["NAME", "TITLE", "find_images", "read_prompts", "summarise", "write_layout"]
