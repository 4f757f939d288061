"""When a checkpoint is saved."""

import pytest

from irg_jax.training.config import CheckpointConfig
from irg_jax.training.hooks.save import Save


class Clock:
    seconds = 0.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def clock():
    return Clock()


def hook(clock, saved, **changes):
    values = dict(every=100, minutes=0.0, keep=1, keep_every=0, best="") | changes
    return Save(CheckpointConfig(**values), 250, lambda step, state: saved.append(step), clock)


def test_it_is_due_every_so_many_steps_and_at_the_last_one(clock):
    save = hook(clock, [])
    assert [step for step in range(1, 251) if save.is_due(step)] == [100, 200, 250]


def test_it_is_requested_when_the_minutes_are_over_and_not_again_before_they_are_over_again(clock):
    saved = []
    save = hook(clock, saved, minutes=10)
    clock.seconds = 599
    assert not save.requests_state()
    clock.seconds = 600
    assert save.requests_state()
    save.at_state(7, None)
    assert saved == [7] and not save.requests_state()
    clock.seconds = 1200
    assert save.requests_state()


def test_without_minutes_it_is_never_requested(clock):
    save = hook(clock, [])
    clock.seconds = 1e9
    assert not save.requests_state()
