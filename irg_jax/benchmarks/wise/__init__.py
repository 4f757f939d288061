"""WISE: 1,000 prompts whose answer takes knowledge of the world (Niu et al. 2025, arXiv 2503.07265).

Two versions, of other prompts and other rules: the legacy one, which papers report, and WISE_Verified. Facts are from
PKU-YuanGroup/WISE@eb51174.
"""

from irg_jax.benchmarks.wise.layout import find_images, write_layout
from irg_jax.benchmarks.wise.prompts import NAME, read_prompts
from irg_jax.benchmarks.wise.scoring import summarise

TITLE = "WISE"

__all__ = ["NAME", "TITLE", "find_images", "read_prompts", "summarise", "write_layout"]
