"""The loop that all training shares: batches go through the step, hooks see what comes out."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax

from irg_jax.sharding.signals import Signals
from irg_jax.training.interrupt import Interrupt
from irg_jax.training.state import FrozenParams, TrainState
from irg_jax.training.step_clock import StepClock


@dataclasses.dataclass(frozen=True)
class StepReport:
    """What is known of a step once it is done.

    Attributes:
      step: its number, from 1.
      metrics: of the step, on the host.
      seconds: since the step before was done.
      stall_seconds: of these, for which the devices had nothing to do because the batch was not there yet.
    """

    step: int
    metrics: dict[str, Any]
    seconds: float
    stall_seconds: float


class Hook:
    """Something that happens beside training. A hook overrides what it needs; all do nothing here.

    Hooks run in the order in which they are given, on every process.

    Attributes:
      answers_requests: whether ``at_state`` is called too, due or not, where a hook has requested it or training stops.
    """

    answers_requests = False

    def before_step(self, step: int) -> None:
        """Called before the step's batch is fetched."""

    def after_metrics(self, report: StepReport) -> None:
        """Called once per step in order, when its metrics are on the host; usually one step late."""

    def requests_state(self) -> bool:
        """Whether hooks that answer requests shall get the state soon; one process is enough to request it."""
        return False

    def is_due(self, step: int) -> bool:
        """Whether ``at_state`` is to be called after this step; the same on all processes."""
        return False

    def before_states(self) -> None:
        """Called before hooks get the state, which may keep the next step waiting for minutes."""

    def at_state(self, step: int, state: TrainState) -> None:
        """Called with the state after a step at which this hook is due.

        The metrics of this step have been seen by ``after_metrics``. The next step takes the state's buffers.
        """

    def close(self) -> None:
        """Called at the end, also after an error."""


def run(
    train_step: Callable[[TrainState, FrozenParams, dict], tuple[TrainState, dict]],
    state: TrainState,
    frozen: FrozenParams,
    next_batch: Callable[[], dict],
    steps: range,
    *,
    hooks: Sequence[Hook],
    signals: Signals,
) -> TrainState:
    """Takes the steps, and returns the state after the last one.

    The host never waits for a step that it has just started: it reads the metrics of the step before. Only where a hook
    is due, which needs the state, it waits for the last step.

    Args:
      train_step: from a state, what is frozen, and a batch to the next state and metrics; may donate the state.
      state: the first state.
      frozen: what the step reads and never updates.
      next_batch: makes the next batch, on the devices. It is called after the hooks have seen the state, so the
        state of the data that is saved there is that before the next step.
      steps: the numbers of the steps, from 1 more than those done.
      hooks: what happens beside.
      signals: of the mesh.

    Raises:
      KeyboardInterrupt: Ctrl-C or SIGTERM on any process, after the hooks have seen the state.
    """
    clock = StepClock()
    pending: tuple[int, dict, float, Any] | None = None

    def read(step: int, metrics: dict, stall: float, answers: Any) -> tuple[bool, bool]:
        values, (stop, requested) = jax.device_get((metrics, answers))
        report = StepReport(step, values, clock.lap(), stall)
        for hook in hooks:
            hook.after_metrics(report)
        return bool(stop), bool(requested)

    try:
        with Interrupt() as interrupt:
            for step in steps:
                for hook in hooks:
                    hook.before_step(step)
                with jax.profiler.StepTraceAnnotation("train", step_num=step):
                    batch, stall = clock.wait_for(next_batch)
                    state, metrics = train_step(state, frozen, batch)
                clock.started(metrics)
                answers = signals.exchange(interrupt.requested, any(hook.requests_state() for hook in hooks))
                previous, pending = pending, (step, metrics, stall, answers)
                stop, requested = read(*previous) if previous is not None else (False, False)
                due = [hook.is_due(step) for hook in hooks]
                if stop or requested or any(due):
                    # A signal that this step's exchange brings is answered here too.
                    stop, pending = read(*pending)[0] or stop, None
                    for hook in hooks:
                        hook.before_states()
                    for hook, is_due in zip(hooks, due, strict=True):
                        if is_due or (hook.answers_requests and (stop or requested)):
                            hook.at_state(step, state)
                    clock.lap()
                if stop:
                    raise KeyboardInterrupt
            if pending is not None:
                read(*pending)
    finally:
        for hook in hooks:
            hook.close()
        clock.close()
    return state
