"""Sequence packing: every sample is used, no budget is exceeded, and the plan depends on the seed alone."""

import dataclasses
import itertools
import threading

import numpy as np
import pytest

from irg_jax.core.errors import UserError
from irg_jax.data.config import DropoutConfig
from irg_jax.data.packing import plan as packing
from irg_jax.data.packing.layout import Kind, Segment
from irg_jax.data.packing.plan import Component, Plan

BUDGETS = (256, 32, 32, 2)
TEXT = Segment(Kind.TEXT, True, 0, length=40)
IMAGE = {kind: Segment(kind, kind == Kind.NOISED, 1, grid=(4, 4)) for kind in (Kind.VIT, Kind.CLEAN, Kind.NOISED)}


def component(name="mode", weight=1.0, mandatory=False, samples=((TEXT,),)):
    return Component(name, weight, mandatory, [list(sample) for sample in samples], range(len(samples)))


def texts(count, seed=0, longest=100):
    lengths = np.random.default_rng(seed).integers(5, longest, count)
    return [[dataclasses.replace(TEXT, length=int(length))] for length in lengths]


def with_images(count, seed=0):
    blocks = ([IMAGE[Kind.NOISED]], [IMAGE[Kind.CLEAN], IMAGE[Kind.VIT], IMAGE[Kind.NOISED]], [])
    rng = np.random.default_rng(seed)
    return [sample + blocks[rng.integers(3)] for sample in texts(count, seed)]


def plan(*components, budgets=BUDGETS, rows_per_pack=4, seed=0, **dropout):
    return Plan(components, budgets, dropout=DropoutConfig(**dropout), rows_per_pack=rows_per_pack, seed=seed)


def packed_samples(made, rows):
    return [sample for i in range(rows) for sample in made.row(i)]


def used(made, rows):
    """Tokens used in each budget by each row, [rows, 4]."""
    return np.array([np.sum([sample.cost for sample in made.row(i)], axis=0) for i in range(rows)])


MIXTURE = (
    component("full", 1.0, True, with_images(50, 1)),
    component("thinking", 0.5, True, with_images(30, 2)),
    component("understanding", 0.5, False, with_images(20, 3)),
)


def test_every_sample_of_every_mode_is_used_once_per_epoch():
    by_draw = {sample.draw: sample for sample in packed_samples(plan(*MIXTURE), 300)}
    oldest_waiting = next(draw for draw in itertools.count(1) if draw not in by_draw)
    drawn = [by_draw[draw] for draw in range(1, oldest_waiting)]
    for index, mode in enumerate(MIXTURE):
        size, indices = len(mode.samples), [sample.index for sample in drawn if sample.component == index]
        epochs = [indices[i : i + size] for i in range(0, len(indices) - size + 1, size)]
        assert len(epochs) > 2
        for epoch in epochs:
            assert sorted(epoch) == list(range(size))
        assert epochs[0] != epochs[1]  # a new order every epoch


def test_no_draw_is_packed_twice_and_none_is_lost():
    draws = sorted(sample.draw for sample in packed_samples(plan(*MIXTURE), 300))
    assert len(draws) == len(set(draws))
    waiting = set(range(1, draws[-1] + 1)) - set(draws)
    assert len(waiting) <= packing.WINDOW + len(MIXTURE)


@pytest.mark.parametrize("rows", [40, 400])
def test_modes_are_drawn_by_their_weights(rows):
    counts = np.bincount([sample.component for sample in packed_samples(plan(*MIXTURE), rows)])
    wanted = counts.sum() * np.array([0.5, 0.25, 0.25])
    assert np.abs(counts - wanted).max() <= packing.WINDOW / 2  # at any length: only the pending samples are missing


@pytest.mark.parametrize("seed", range(3))
def test_no_row_exceeds_a_budget(seed):
    assert (used(plan(*MIXTURE, seed=seed, vae=0.3), 200) <= BUDGETS).all()


def test_the_cost_of_a_sample_is_that_of_the_kept_segments():
    made = plan(*MIXTURE, vae=0.5, vit=0.5)
    for sample in packed_samples(made, 100):
        segments = MIXTURE[sample.component].samples[sample.index]
        kept = [segment.cost for i, segment in enumerate(segments) if not sample.dropped >> i & 1]
        assert sample.cost == tuple(np.sum(kept, axis=0))


def test_rows_are_filled_to_95_percent():
    assert (used(plan(*MIXTURE), 400).mean(0) / BUDGETS)[:2].max() > 0.95


def test_a_mixture_of_texts_needs_no_budget_for_images():
    made = plan(component(samples=texts(30)), budgets=(256, 0, 0, 0))
    with np.errstate(all="raise"):
        assert used(made, 20)[:, 0].mean() > 0.9 * 256


@pytest.mark.parametrize("rows_per_pack", [1, 2, 4])
def test_every_pack_holds_every_mandatory_mode(rows_per_pack):
    made = plan(
        component("full", 10.0, False, texts(30)),
        component("rare", 0.1, True, texts(30, seed=1)),
        component("rarer", 0.01, True, texts(30, seed=2)),
        rows_per_pack=rows_per_pack,
    )
    for pack in range(50):
        rows = range(pack * rows_per_pack, (pack + 1) * rows_per_pack)
        assert {1, 2} <= {sample.component for i in rows for sample in made.row(i)}


def test_the_plan_depends_on_the_seed_alone():
    first, again, other = (plan(*MIXTURE, seed=seed, vae=0.3) for seed in (0, 0, 1))
    assert [first.row(i) for i in range(50)] == [again.row(i) for i in range(50)]
    assert first.row(0) != other.row(0)


def test_the_order_of_access_changes_nothing():
    ascending, shuffled = plan(*MIXTURE), plan(*MIXTURE)
    wanted = [ascending.row(i) for i in range(60)]
    order = np.random.default_rng(0).permutation(60)
    read = {i: shuffled.row(int(i)) for i in order}
    assert [read[i] for i in range(60)] == wanted


def test_reading_from_threads_changes_nothing():
    wanted = [plan(*MIXTURE).row(i) for i in range(60)]
    made, read = plan(*MIXTURE), {}

    def read_rows(start):
        for i in range(start, 60, 6):
            read[i] = made.row(i)

    threads = [threading.Thread(target=read_rows, args=(start,)) for start in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [read[i] for i in range(60)] == wanted


# --- starvation

SLACK = (packing.PATIENCE + packing.WINDOW) * 2


def longest_wait(made, rows):
    """The maximum number of draws between the draw of a sample and its packing, over all rows."""
    latest, wait = 0, 0
    for i in range(rows):
        for sample in made.row(i):
            latest = max(latest, sample.draw)
            wait = max(wait, latest - sample.draw)
    return wait


def test_large_samples_do_not_starve_among_small_ones():
    large = [[dataclasses.replace(TEXT, length=250)]]
    made = plan(component("small", 1.0, True, texts(100, longest=20)), component("large", 0.1, False, large))
    assert longest_wait(made, 300) <= SLACK


def test_large_samples_do_not_starve_among_mandatory_modes_that_share_no_row():
    """Two mandatory modes of which a row holds only one, and a third that fits beside neither."""
    half = [[dataclasses.replace(TEXT, length=150)]]
    made = plan(
        component("first", 1.0, True, half),
        component("second", 1.0, True, half),
        component("large", 1.0, False, [[dataclasses.replace(TEXT, length=250)]]),
        rows_per_pack=1,
    )
    assert {sample.component for sample in packed_samples(made, 1000)} == {0, 1, 2}
    assert longest_wait(made, 3000) <= SLACK


# --- condition dropout


@pytest.mark.parametrize(("name", "kind"), [("text", Kind.TEXT), ("vit", Kind.VIT), ("vae", Kind.CLEAN)])
def test_conditions_are_dropped_at_their_rates(name, kind):
    condition = dataclasses.replace(TEXT, learned=False)
    sample = [condition, IMAGE[Kind.VIT], IMAGE[Kind.CLEAN], TEXT, IMAGE[Kind.NOISED]]
    made = plan(component(samples=[sample]), **{name: 0.3})
    dropped = np.array([[packed.dropped >> i & 1 for i in range(5)] for packed in packed_samples(made, 2000)])
    assert len(dropped) > 1500
    for i, segment in enumerate(sample):
        wanted = 0.3 if segment.kind == kind and not segment.learned else 0.0
        assert abs(dropped[:, i].mean() - wanted) < (0.04 if wanted else 1e-9), segment


def test_segments_with_a_loss_are_never_dropped():
    made = plan(*MIXTURE, text=1.0, vit=1.0, vae=1.0)
    for sample in packed_samples(made, 100):
        for i, segment in enumerate(MIXTURE[sample.component].samples[sample.index]):
            assert bool(sample.dropped >> i & 1) != segment.learned


# --- errors


def test_oversize_samples_are_separated():
    long, short = [dataclasses.replace(TEXT, length=300)], [TEXT]
    three_images = [TEXT] + [IMAGE[Kind.CLEAN]] * 3
    assert packing.split_oversize([short, long, three_images], BUDGETS, 1000) == ([0], [1, 2])
    assert packing.split_oversize([short, [TEXT, IMAGE[Kind.NOISED]]], BUDGETS, 42) == ([0], [1])


def test_a_mode_without_samples_is_refused():
    with pytest.raises(UserError, match="data.mixture: rare has no sample that fits a row; raise data.budgets"):
        plan(component(), component("rare", samples=()))
