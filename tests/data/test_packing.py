"""The plan of rows: every sample gets its turn, no budget is passed, and the seed alone decides."""

import dataclasses
import itertools
import threading

import numpy as np
import pytest

from irg_jax.data import packing
from irg_jax.data.layout import Kind, Segment
from irg_jax.data.packing import Component, Dropout, Plan
from irg_jax.errors import UserError

BUDGETS = (256, 32, 32, 2)
TEXT = Segment(Kind.TEXT, True, 0, length=40)
IMAGE = {kind: Segment(kind, kind == Kind.NOISED, 1, grid=(4, 4)) for kind in (Kind.VIT, Kind.CLEAN, Kind.NOISED)}


def component(name="mode", weight=1.0, mandatory=False, samples=((TEXT,),)):
    return Component(name, weight, mandatory, [list(sample) for sample in samples], range(len(samples)))


def texts(count, seed=0, longest=100):
    lengths = np.random.default_rng(seed).integers(5, longest, count)
    return [[dataclasses.replace(TEXT, length=int(length))] for length in lengths]


def with_images(count, seed=0):
    pictures = ([IMAGE[Kind.NOISED]], [IMAGE[Kind.CLEAN], IMAGE[Kind.VIT], IMAGE[Kind.NOISED]], [])
    rng = np.random.default_rng(seed)
    return [sample + pictures[rng.integers(3)] for sample in texts(count, seed)]


def plan(*components, budgets=BUDGETS, rows_per_pack=4, seed=0, **dropout):
    return Plan(components, budgets, dropout=Dropout(**dropout), rows_per_pack=rows_per_pack, seed=seed)


def placed(made, rows):
    return [sample for i in range(rows) for sample in made.row(i)]


MIXTURE = (
    component("full", 1.0, True, with_images(50, 1)),
    component("thinking", 0.5, True, with_images(30, 2)),
    component("understanding", 0.5, False, with_images(20, 3)),
)


def test_every_sample_of_every_mode_is_used_once_a_pass():
    by_draw = {sample.draw: sample for sample in placed(plan(*MIXTURE), 300)}
    oldest_waiting = next(draw for draw in itertools.count(1) if draw not in by_draw)
    drawn = [by_draw[draw] for draw in range(1, oldest_waiting)]
    for index, mode in enumerate(MIXTURE):
        size, samples = len(mode.samples), [sample.sample for sample in drawn if sample.component == index]
        passes = [samples[i : i + size] for i in range(0, len(samples) - size + 1, size)]
        assert len(passes) > 2
        for one in passes:
            assert sorted(one) == list(range(size))
        assert passes[0] != passes[1]  # in another order each time


def test_no_sample_is_placed_twice_and_none_is_lost():
    draws = sorted(sample.draw for sample in placed(plan(*MIXTURE), 300))
    assert len(draws) == len(set(draws))
    waiting = set(range(1, draws[-1] + 1)) - set(draws)
    assert len(waiting) <= packing.WINDOW + len(MIXTURE)


@pytest.mark.parametrize("rows", [40, 400])
def test_shares_are_the_weights(rows):
    counts = np.bincount([sample.component for sample in placed(plan(*MIXTURE), rows)])
    wanted = counts.sum() * np.array([0.5, 0.25, 0.25])
    assert np.abs(counts - wanted).max() <= packing.WINDOW / 2  # at any length: only those that wait are missing


@pytest.mark.parametrize("seed", range(3))
def test_no_row_passes_a_budget(seed):
    made = plan(*MIXTURE, seed=seed, vae=0.3)
    used = made.used(range(200))
    assert (used <= BUDGETS).all()
    assert [sum(sample.cost[0] for sample in made.row(i)) for i in range(200)] == list(used[:, 0])


def test_a_cost_is_that_of_the_kept_segments():
    made = plan(*MIXTURE, vae=0.5, vit=0.5)
    for sample in placed(made, 100):
        segments = MIXTURE[sample.component].samples[sample.sample]
        kept = [segment.cost for i, segment in enumerate(segments) if not sample.dropped >> i & 1]
        assert sample.cost == tuple(np.sum(kept, axis=0))


def test_rows_are_well_filled():
    made = plan(*MIXTURE)
    assert (made.used(range(400)).mean(0) / BUDGETS)[:2].max() > 0.95


def test_a_mixture_of_texts_needs_no_budget_for_images():
    made = plan(component(samples=texts(30)), budgets=(256, 0, 0, 0))
    with np.errstate(all="raise"):
        assert made.used(range(20))[:, 0].mean() > 0.9 * 256


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


def test_the_seed_decides_and_nothing_else():
    first, again, other = (plan(*MIXTURE, seed=seed, vae=0.3) for seed in (0, 0, 1))
    assert [first.row(i) for i in range(50)] == [again.row(i) for i in range(50)]
    assert first.row(0) != other.row(0)


def test_the_order_of_reading_changes_nothing():
    ascending, jumping = plan(*MIXTURE), plan(*MIXTURE)
    wanted = [ascending.row(i) for i in range(60)]
    order = np.random.default_rng(0).permutation(60)
    read = {i: jumping.row(int(i)) for i in order}
    assert [read[i] for i in range(60)] == wanted


def test_reading_from_threads_changes_nothing():
    wanted = [plan(*MIXTURE).row(i) for i in range(60)]
    made, read = plan(*MIXTURE), {}

    def reader(start):
        for i in range(start, 60, 6):
            read[i] = made.row(i)

    threads = [threading.Thread(target=reader, args=(start,)) for start in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [read[i] for i in range(60)] == wanted


# --- starving

SLACK = (packing.PATIENCE + packing.WINDOW) * 2


def longest_wait(made, rows):
    """The most draws that passed between the draw of a sample and its place, over all rows."""
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
    """Two mandatory modes of which a row holds one only, and beside them a third that fits neither's rest."""
    half = [[dataclasses.replace(TEXT, length=150)]]
    made = plan(
        component("first", 1.0, True, half),
        component("second", 1.0, True, half),
        component("large", 1.0, False, [[dataclasses.replace(TEXT, length=250)]]),
        rows_per_pack=1,
    )
    assert {sample.component for sample in placed(made, 1000)} == {0, 1, 2}
    assert longest_wait(made, 3000) <= SLACK


# --- condition dropout


@pytest.mark.parametrize(("name", "kind"), [("text", Kind.TEXT), ("vit", Kind.VIT), ("vae", Kind.CLEAN)])
def test_conditions_are_dropped_at_their_rates(name, kind):
    condition = dataclasses.replace(TEXT, learned=False)
    sample = [condition, IMAGE[Kind.VIT], IMAGE[Kind.CLEAN], TEXT, IMAGE[Kind.NOISED]]
    made = plan(component(samples=[sample]), **{name: 0.3})
    dropped = np.array([[one.dropped >> i & 1 for i in range(5)] for one in placed(made, 2000)])
    assert len(dropped) > 1500
    for i, segment in enumerate(sample):
        wanted = 0.3 if segment.kind == kind and not segment.learned else 0.0
        assert abs(dropped[:, i].mean() - wanted) < (0.04 if wanted else 1e-9), segment


def test_what_has_a_loss_is_never_dropped():
    made = plan(*MIXTURE, text=1.0, vit=1.0, vae=1.0)
    for one in placed(made, 100):
        for i, segment in enumerate(MIXTURE[one.component].samples[one.sample]):
            assert bool(one.dropped >> i & 1) != segment.learned


# --- what cannot be planned


def test_samples_that_never_fit_are_told_apart():
    long, short = [dataclasses.replace(TEXT, length=300)], [TEXT]
    three_images = [TEXT] + [IMAGE[Kind.CLEAN]] * 3
    assert packing.split_oversize([short, long, three_images], BUDGETS, 1000) == ([0], [1, 2])
    assert packing.split_oversize([short, [TEXT, IMAGE[Kind.NOISED]]], BUDGETS, 42) == ([0], [1])


@pytest.mark.parametrize("weight", [0, -1.0, float("nan"), float("inf")])
def test_a_weight_that_is_no_share_is_refused(weight):
    with pytest.raises(UserError, match="data.mixture: the weight of rare is .*; it must be"):
        plan(component(), component("rare", weight))


def test_a_mixture_with_nothing_to_draw_is_refused():
    with pytest.raises(UserError, match="data.mixture: no learning mode is listed"):
        plan()
    with pytest.raises(UserError, match="data.mixture: rare has no sample that fits a row; raise data.budgets"):
        plan(component(), component("rare", samples=()))


@pytest.mark.parametrize("rate", [-0.1, 1.5, float("nan")])
def test_a_dropout_that_is_no_probability_is_refused(rate):
    with pytest.raises(UserError, match="data.dropout.vae: .* from 0 to 1"):
        Dropout(vae=rate)
