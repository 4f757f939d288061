"""TIIF-Bench: 39 attributes of instructions, each short and long (Wei et al. 2025, arXiv 2506.02161).

Facts are from A113N-W3I/TIIF-Bench@3aae750. A short and a long description are two items of one set.
"""

from irg_jax.benchmarks.tiif.layout import find_images, write_layout
from irg_jax.benchmarks.tiif.prompts import NAME, read_prompts
from irg_jax.benchmarks.tiif.scoring import summarise

TITLE = "TIIF-Bench"

__all__ = ["NAME", "TITLE", "find_images", "read_prompts", "summarise", "write_layout"]
