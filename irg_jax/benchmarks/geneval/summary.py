"""GenEval's figures, as ``evaluation/summary_scores.py`` of djghosh13/geneval@af4902f computes them."""

from collections import Counter, defaultdict
from collections.abc import Sequence

from irg_jax.benchmarks.benchmark import Row
from irg_jax.benchmarks.geneval.classes import TASKS
from irg_jax.core.errors import UserError


def summarise(rows: Sequence[Row]) -> dict[str, float]:
    """The share of correct images of each task, of all images, of prompts with a correct image, and the overall.

    The overall is the plain mean over the tasks that there are, as in the official script: complete only where all six
    are. Tasks of custom files come after the official ones.

    Args:
      rows: with the value ``correct``, 0 or 1. A prompt that is drawn twice counts twice.

    Raises:
      UserError: no rows.
    """
    if not rows:
        raise UserError("geneval: there is nothing to summarise; score at least one image")
    by_task: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        by_task[row.category].append(row.values["correct"])
    order = [task for task in TASKS if task in by_task] + sorted(by_task.keys() - set(TASKS))
    tasks = {task: sum(by_task[task]) / len(by_task[task]) for task in order}
    return {
        **tasks,
        "correct images": sum(row.values["correct"] for row in rows) / len(rows),
        "correct prompts": _correct_prompts(rows),
        "overall": sum(tasks.values()) / len(tasks),
    }


def _correct_prompts(rows: Sequence[Row]) -> float:
    images: dict[str, set[int]] = defaultdict(set)
    correct: dict[str, bool] = defaultdict(bool)
    for row in rows:
        images[row.key].add(row.sample)
        correct[row.key] |= row.values["correct"] > 0
    times = {key: count / len(images[key]) for key, count in Counter(row.key for row in rows).items()}
    return sum(times[key] for key in times if correct[key]) / sum(times.values())
