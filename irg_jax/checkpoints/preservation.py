"""Which checkpoints are kept."""

import math

from orbax.checkpoint import checkpoint_managers


def kept(latest: int, every: int, best: str) -> checkpoint_managers.PreservationPolicy:
    """The latest ones, those of steps that are multiples of a number, and the best by a metric.

    Args:
      latest: how many.
      every: steps; 0 for none.
      best: name of the metric, of which the lowest value is the best; empty for none.
    """
    policies: list[checkpoint_managers.PreservationPolicy] = [checkpoint_managers.LatestN(latest)]
    if every:
        policies.append(checkpoint_managers.EveryNSteps(every))
    if best:
        policies.append(
            checkpoint_managers.BestN(
                get_metric_fn=lambda metrics: rank(metrics[best]),
                reverse=True,  # in descending order; Orbax keeps the last
                n=1,
                keep_checkpoints_without_metrics=False,
            )
        )
    return checkpoint_managers.AnyPreservationPolicy(policies)


def rank(value: float) -> float:
    """A metric by which checkpoints can be ordered: NaN is the worst, which would otherwise upset the order."""
    return value if math.isfinite(value) else math.inf
