"""The loop: what hooks see, in which order, and when the host waits. The step is a stand-in that counts."""

import signal

import jax
import jax.numpy as jnp
import pytest

from irg_jax.sharding.mesh import MeshConfig, make_mesh
from irg_jax.sharding.signals import Signals
from irg_jax.training import loop

LAST = 6


class Recorder(loop.Hook):
    """Records its calls; due at some steps, and requests the state at others."""

    def __init__(self, due=(), requests=(), answers=False):
        self.calls, self._due, self._requests, self._step = [], due, requests, 0
        self.answers_requests = answers

    def before_step(self, step):
        self._step = step

    def after_metrics(self, report):
        self.calls.append(("metrics", report.step, int(report.metrics["loss"]), self._step))

    def requests_state(self):
        return self._step in self._requests

    def is_due(self, step):
        return step in self._due

    def at_state(self, step, state):
        self.calls.append(("state", step, int(state)))

    def close(self):
        self.calls.append(("close",))


def step(state, frozen, batch):
    return state + 1, {"loss": batch}


def run(*hooks, step=step, batches=None):
    """Runs six steps whose loss is the number of their batch."""
    numbers = iter(batches or range(1, LAST + 1))
    return loop.run(
        step, jnp.int32(0), None, lambda: jnp.int32(next(numbers)), range(1, LAST + 1), hooks=hooks,
        signals=Signals(make_mesh(MeshConfig())),
    )  # fmt: skip


def test_metrics_are_read_one_step_late():
    hook = Recorder()
    assert run(hook) == LAST
    wanted = [("metrics", n, n, min(n + 1, LAST)) for n in range(1, LAST + 1)]
    assert hook.calls == [*wanted, ("close",)]


def test_a_hook_that_is_due_gets_the_state_after_the_metrics_of_its_step():
    hook, other = Recorder(due=(2, LAST)), Recorder()
    run(hook, other)
    assert hook.calls[1:4] == [("metrics", 2, 2, 2), ("state", 2, 2), ("metrics", 3, 3, 4)]
    assert hook.calls[-3:] == [("metrics", LAST, LAST, LAST), ("state", LAST, LAST), ("close",)]
    assert not any(call[0] == "state" for call in other.calls)


def test_a_request_is_answered_one_step_later_by_the_hooks_that_answer():
    asks, answers = Recorder(requests=(3,)), Recorder(answers=True)
    run(asks, answers)
    assert [call[1] for call in answers.calls if call[0] == "state"] == [4]
    assert not any(call[0] == "state" for call in asks.calls)


@pytest.mark.usefixtures("python_handles_ctrl_c")
def test_ctrl_c_ends_the_run_after_the_state_is_seen():
    def interrupted_step(state, frozen, batch):
        if int(batch) == 3:
            signal.raise_signal(signal.SIGINT)
        return step(state, frozen, batch)

    hook = Recorder(answers=True)
    with pytest.raises(KeyboardInterrupt):
        run(hook, step=interrupted_step)
    # The signal came in step 3, whose answer is read while step 4 runs.
    assert hook.calls[-3:] == [("metrics", 4, 4, 4), ("state", 4, 4), ("close",)]


def test_hooks_are_closed_after_an_error():
    hook = Recorder()
    with pytest.raises(ZeroDivisionError):
        run(hook, step=lambda state, frozen, batch: 1 // 0)
    assert hook.calls == [("close",)]


def test_a_run_without_steps_returns_its_state():
    assert (
        loop.run(step, jnp.int32(5), None, None, range(1, 1), hooks=(), signals=Signals(make_mesh(MeshConfig()))) == 5
    )


def test_any_process_can_request_a_stop_through_the_devices():
    signals = Signals(make_mesh(MeshConfig()))
    assert jax.device_get(signals.exchange(True, False)).tolist() == [True, False]
