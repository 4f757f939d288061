"""GenEval (Ghosh et al., 2023, arXiv 2310.11513): 553 prompts, four images each, scored by an object detector.

A ``Benchmark``; the rules are those of djghosh13/geneval@af4902f.
"""

from irg_jax.benchmarks.geneval.layout import find_images, write_layout
from irg_jax.benchmarks.geneval.prompts import NAME, TITLE, read_prompts
from irg_jax.benchmarks.geneval.summary import summarise

__all__ = ["NAME", "TITLE", "find_images", "read_prompts", "summarise", "write_layout"]
