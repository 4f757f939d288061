"""GenAI-Bench's figures: the mean score of each skill, of each level, and of all scored prompts.

As in linzhiqiu/t2v_metrics@6ecb74f, whose tables call the overall "all" and print two decimals.
"""

import math
from collections.abc import Sequence

from irg_jax.benchmarks.benchmark import Row
from irg_jax.benchmarks.genai_bench.prompts import ADVANCED, BASIC, tags_of
from irg_jax.core.errors import UserError


def summarise(rows: Sequence[Row]) -> dict[str, float]:
    """The means over prompts: five basic skills and ``basic``, five advanced ones and ``advanced``, and ``overall``.

    The levels and the overall are means over their prompts, not over skills. Rows of prompts without a skill are left
    out, as in the official script. Figures without rows are nan.

    Raises:
      UserError: a row of a category that GenAI-Bench does not have, or without a score.
    """
    scores: dict[str, list[float]] = {name: [] for name in (*BASIC, "basic", *ADVANCED, "advanced", "overall")}
    for row in rows:
        tags = tags_of(row.category)
        if "score" not in row.values:
            raise UserError(f"row {row.key}: has no value 'score'; score its image again")
        for name in (*tags, "overall") if tags else ():
            scores[name].append(row.values["score"])
    return {name: math.fsum(of) / len(of) if of else math.nan for name, of in scores.items()}
