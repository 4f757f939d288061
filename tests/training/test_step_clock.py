"""How long the devices waited for data."""

import threading
import time

import pytest

from irg_jax.training.step_clock import StepClock


class Outputs:
    """Stands for the arrays of a step: ready once ``finish`` is called."""

    def __init__(self):
        self._done = threading.Event()
        self.finish = self._done.set

    def block_until_ready(self):
        self._done.wait()
        return self


def slow_batch(seconds):
    def next_batch():
        time.sleep(seconds)
        return "batch"

    return next_batch


def test_data_that_is_there_before_the_step_ends_costs_nothing():
    clock, outputs = StepClock(), Outputs()
    clock.started(outputs)
    assert clock.wait_for(slow_batch(0.05)) == ("batch", 0.0)
    outputs.finish()


def test_the_devices_wait_from_the_end_of_the_step_to_the_batch():
    clock, outputs = StepClock(), Outputs()
    clock.started(outputs)
    threading.Timer(0.1, outputs.finish).start()
    _, stall = clock.wait_for(slow_batch(0.4))
    assert stall == pytest.approx(0.3, abs=0.15)


def test_before_the_first_step_every_second_is_waiting():
    _, stall = StepClock().wait_for(slow_batch(0.1))
    assert stall == pytest.approx(0.1, abs=0.08)


def test_laps_add_up_to_the_time_that_has_passed():
    clock, start = StepClock(), time.monotonic()
    clock.lap()
    time.sleep(0.05)
    laps = clock.lap()
    assert 0.05 <= laps <= time.monotonic() - start


def test_closing_waits_for_the_steps_that_were_started():
    clock, outputs = StepClock(), Outputs()
    clock.started(outputs)
    threading.Timer(0.05, outputs.finish).start()
    start = time.monotonic()
    clock.close()
    assert time.monotonic() - start >= 0.04
