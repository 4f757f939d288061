"""The watch: a stall is reported once, with the process that stands still."""

import logging
import time

from irg_jax.training.hooks.watch import Watch, describe
from irg_jax.training.loop import StepReport


class Clock:
    seconds = 0.0

    def __call__(self):
        return self.seconds


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def wait_until(condition):
    end = time.monotonic() + 5
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)


def test_a_step_of_many_medians_is_reported_once(caplog):
    clock = Clock()
    watch = Watch(4.0, poll=0.01, clock=clock)
    try:
        for step in range(1, 5):
            watch.before_step(step)
            clock.seconds += 10
            watch.after_metrics(StepReport(step, {}, seconds=10.0, stall_seconds=0.0))
        clock.seconds += 39
        time.sleep(0.1)
        assert not warnings(caplog)
        clock.seconds += 2
        wait_until(lambda: warnings(caplog))
        time.sleep(0.1)
        assert warnings(caplog) == ["no step has ended for 41 s (median 10 s): step 4 is computing, or waits for data"]
    finally:
        watch.close()


def test_a_validation_is_no_stall(caplog):
    clock = Clock()
    watch = Watch(4.0, poll=0.01, clock=clock)
    try:
        for step in range(1, 5):
            watch.before_step(step)
            watch.after_metrics(StepReport(step, {}, seconds=1.0, stall_seconds=0.0))
        watch.before_states()
        clock.seconds += 1000
        time.sleep(0.1)
        watch.before_step(5)
        time.sleep(0.1)
        assert not warnings(caplog)
    finally:
        watch.close()


def test_the_process_that_has_started_fewest_steps_stands_still():
    states = {0: ("a", 12, 0.5), 1: ("b", 11, 0.5), 2: ("c", 12, 1.0)}
    assert describe(states, 12) == "process 1 on b is at step 11, others at 12"


def test_a_process_that_is_no_longer_heard_of_comes_first():
    states = {0: ("a", 12, 0.5), 1: ("b", 12, 40.0), 2: ("c", 11, 1.0)}
    assert describe(states, 12) == "process 1 on b has been silent for 40 s, at step 12"


def test_where_all_are_at_the_same_step_their_devices_are_what_is_waited_for():
    states = {0: ("a", 12, 0.5), 1: ("b", 12, 0.5)}
    assert describe(states, 12) == "all processes are at step 12, waiting for their devices"
