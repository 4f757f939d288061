"""OneIG-Bench's figures from rows."""

from collections import defaultdict
from collections.abc import Sequence

from irg_jax.benchmarks.benchmark import Row
from irg_jax.benchmarks.oneig import text
from irg_jax.core.errors import UserError

METRICS = ("alignment", "text", "reasoning", "style", "diversity")


def summarise(rows: Sequence[Row]) -> dict[str, float]:
    """The figures of the metrics that have rows, and the overall where all five have.

    All but text are means over prompts of the mean over the images of a prompt; alignment is over anime, human and
    object together. Text is computed from the sums over all images.

    The overall is the plain mean of the five. The official repository computes none; seven rows of published tables,
    among them IRG (.4148) and GPT-4o (.5332), equal this one.

    Args:
      rows: of all metrics together, each with the values of one or several. A prompt that is drawn twice counts twice.

    Raises:
      UserError: no rows of any metric.
    """
    figures: dict[str, float] = {}
    for metric in METRICS:
        own = [row for row in rows if (text.DISTANCE if metric == "text" else metric) in row.values]
        if own:
            figures[metric] = text.score(text.components(own)) if metric == "text" else prompt_mean(own, metric)
    if not figures:
        raise UserError("oneig: there is nothing to summarise; score at least one image")
    if len(figures) == len(METRICS):
        figures["overall"] = sum(figures.values()) / len(METRICS)
    return figures


def prompt_mean(rows: Sequence[Row], name: str) -> float:
    """The mean over prompts of the mean over the images of each; a prompt weighs as often as it is drawn.

    Args:
      rows: at least one, each with this value.
      name: of the value.
    """
    scores: dict[str, list[float]] = defaultdict(list)
    images: dict[str, set[int]] = defaultdict(set)
    for row in rows:
        scores[row.key].append(row.values[name])
        images[row.key].add(row.sample)
    # A prompt of which three images are there is not drawn less often than one of four.
    times = {key: len(values) / len(images[key]) for key, values in scores.items()}
    weighted = sum(times[key] * sum(values) / len(values) for key, values in scores.items())
    return weighted / sum(times.values())
