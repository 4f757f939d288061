"""Sequence packing: every sample is used, no budget is exceeded, and the plan depends on the seed alone."""

import dataclasses
import itertools
import json
import threading

import numpy as np
import pytest

from irg_jax.core.errors import UserError
from irg_jax.data.config import DropoutConfig
from irg_jax.data.packing import plan as planning
from irg_jax.data.packing import planner as packing
from irg_jax.data.packing.component import Component
from irg_jax.data.packing.plan import Plan
from irg_jax.data.packing.planner import Snapshot
from irg_jax.data.packing.segment import Kind, Segment

BUDGETS = (256, 32, 32, 2)
TEXT = Segment(Kind.TEXT, True, 0, length=40)
IMAGE = {kind: Segment(kind, kind == Kind.NOISED, 1, grid=(4, 4)) for kind in (Kind.VIT, Kind.CLEAN, Kind.NOISED)}


class ListedSamples:
    """Samples of given segments: one per record, or several where ``records`` says so."""

    def __init__(self, samples, records=None):
        self._samples = [list(sample) for sample in samples]
        self.records = np.arange(len(samples)) if records is None else np.array(records)
        self.variants = np.zeros(len(samples), np.int64)
        self.crcs = np.zeros(len(samples), np.uint32)
        costs = [np.sum([segment.cost for segment in sample], axis=0) for sample in self._samples]
        self.costs = np.array(costs, np.int32).reshape(-1, 4)
        self.conditions = frozenset(s.kind for sample in self._samples for s in sample if not s.learned)

    def segments(self, index):
        return self._samples[index]


def component(name="mode", weight=1.0, mandatory=False, samples=((TEXT,),), records=None, budgets=BUDGETS, longest=999):
    return Component(name, weight, mandatory, ListedSamples(samples, records), budgets, longest)


def texts(count, seed=0, longest=100):
    lengths = np.random.default_rng(seed).integers(5, longest, count)
    return [[dataclasses.replace(TEXT, length=int(length))] for length in lengths]


def with_images(count, seed=0):
    blocks = ([IMAGE[Kind.NOISED]], [IMAGE[Kind.CLEAN], IMAGE[Kind.VIT], IMAGE[Kind.NOISED]], [])
    rng = np.random.default_rng(seed)
    return [sample + blocks[rng.integers(3)] for sample in texts(count, seed)]


def plan(*components, budgets=BUDGETS, rows_per_pack=4, seed=0, start=None, **dropout):
    return Plan(
        components, budgets, dropout=DropoutConfig(**dropout), rows_per_pack=rows_per_pack, seed=seed, start=start
    )


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
        size, indices = len(mode.samples.records), [sample.sample for sample in drawn if sample.component == index]
        epochs = [indices[i : i + size] for i in range(0, len(indices) - size + 1, size)]
        assert len(epochs) > 2
        for epoch in epochs:
            assert sorted(epoch) == list(range(size))
        assert epochs[0] != epochs[1]  # a new order every epoch


def test_no_draw_is_packed_twice_and_none_is_lost():
    draws = sorted(sample.draw for sample in packed_samples(plan(*MIXTURE), 300))
    assert len(draws) == len(set(draws))
    waiting = set(range(1, draws[-1] + 1)) - set(draws)
    assert len(waiting) <= packing.MIN_WINDOW + len(MIXTURE)


@pytest.mark.parametrize("rows", [40, 400])
def test_modes_are_drawn_by_their_weights(rows):
    counts = np.bincount([sample.component for sample in packed_samples(plan(*MIXTURE), rows)])
    wanted = counts.sum() * np.array([0.5, 0.25, 0.25])
    assert (
        np.abs(counts - wanted).max() <= packing.MIN_WINDOW / 2
    )  # at any length: only the pending samples are missing


@pytest.mark.parametrize("seed", range(3))
def test_no_row_exceeds_a_budget(seed):
    assert (used(plan(*MIXTURE, seed=seed, vae=0.3), 200) <= BUDGETS).all()


def test_the_cost_of_a_sample_is_that_of_the_kept_segments():
    made = plan(*MIXTURE, vae=0.5, vit=0.5)
    for sample in packed_samples(made, 100):
        segments = MIXTURE[sample.component].samples.segments(sample.sample)
        kept = [segment.cost for i, segment in enumerate(segments) if not sample.dropped >> i & 1]
        assert sample.cost == tuple(np.sum(kept, axis=0))


def test_rows_are_filled_to_95_percent():
    assert (used(plan(*MIXTURE), 400).mean(0) / BUDGETS)[:2].max() > 0.95


def test_a_mixture_of_texts_needs_no_budget_for_images():
    made = plan(component(samples=texts(30), budgets=(256, 0, 0, 0)), budgets=(256, 0, 0, 0))
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

# Twice the window, and the samples of a whole pack.
SLACK = (packing.PATIENCE + 1) * packing.MIN_WINDOW * 2 + 100


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
        for i, segment in enumerate(MIXTURE[sample.component].samples.segments(sample.sample)):
            assert bool(sample.dropped >> i & 1) != segment.learned


# --- errors


def test_records_without_a_sample_that_fits_are_separated():
    long, short = [dataclasses.replace(TEXT, length=300)], [TEXT]
    three_images = [TEXT] + [IMAGE[Kind.CLEAN]] * 3
    made = component(samples=[short, long, three_images], longest=1000)
    assert made.records == 1 and made.oversize.tolist() == [1, 2]
    made = component(samples=[short, [TEXT, IMAGE[Kind.NOISED]]], longest=42)
    assert made.records == 1 and made.oversize.tolist() == [1]
    # A record is left out only if none of its variants fits.
    made = component(samples=[long, short, long], records=[0, 0, 1])
    assert made.records == 1 and made.oversize.tolist() == [1]
    assert {sample.sample for sample in packed_samples(plan(made), 20)} == {1}


def test_a_mode_without_samples_is_refused():
    with pytest.raises(UserError, match="data.mixture: rare has no sample that fits a row; raise data.budgets"):
        plan(component(), component("rare", samples=()))


# --- variants, shares, snapshots


def test_every_visit_draws_one_of_the_variants_of_a_record():
    lengths = [[dataclasses.replace(TEXT, length=10 + i)] for i in range(6)]
    made = plan(component(samples=lengths, records=[0, 0, 0, 1, 1, 2]))
    drawn = sorted(packed_samples(made, 60), key=lambda sample: sample.draw)
    by_record = [np.array([0, 0, 0, 1, 1, 2])[sample.sample] for sample in drawn]
    for epoch in range(20):
        assert sorted(by_record[3 * epoch : 3 * epoch + 3]) == [0, 1, 2]  # each record once, whichever variant
    counts = np.bincount([sample.sample for sample in drawn], minlength=6)
    assert (counts[:3] > counts.sum() / 9 * 0.6).all() and counts[5] > 2 * counts[3] * 0.6


def test_no_mode_waits_longer_than_a_few_samples_for_its_turn():
    """Six equal weights whose samples align with the budgets in very different ways."""
    shapes = ([TEXT], [TEXT, IMAGE[Kind.NOISED]], [IMAGE[Kind.CLEAN], TEXT], [dataclasses.replace(TEXT, length=120)])
    modes = [component(str(i), 1.0, False, [shapes[i % 4]] * 10) for i in range(6)]
    order = [sample.component for sample in packed_samples(plan(*modes, rows_per_pack=1), 200)]
    for mode in range(6):
        places = [-1, *(i for i, found in enumerate(order) if found == mode)]
        assert max(np.diff(places)) <= 6 * (packing.MAX_LAG + 2)


def test_mandatory_modes_that_contradict_their_weights_are_refused():
    two = component("often", 9.0, False, texts(30)), component("always", 1.0, True, texts(30, seed=1))
    with pytest.raises(UserError, match=r"data.mixture: .* always 0\.\d+ instead of 0\.100.*Raise data.rows_per_pack"):
        plan(*two, rows_per_pack=1).check_shares()
    shares = plan(*two, rows_per_pack=16).check_shares()
    assert abs(shares[1] - 0.1) < 0.02


def test_a_plan_goes_on_from_a_snapshot_with_the_same_rows(monkeypatch):
    monkeypatch.setattr(planning, "SNAPSHOT_ROWS", 40)
    first = plan(*MIXTURE, vae=0.3)
    wanted = [first.row(i) for i in range(200)]
    snapshot = first.snapshot(150)
    assert 110 < snapshot.row <= 150
    again = plan(*MIXTURE, vae=0.3, start=Snapshot.from_json(json.loads(json.dumps(snapshot))))
    assert [again.row(i) for i in range(150, 200)] == wanted[150:]
    assert again.row(20) == wanted[20]  # planned from the beginning


def test_memory_is_bounded_and_old_rows_are_planned_again(monkeypatch):
    monkeypatch.setattr(planning, "SNAPSHOT_ROWS", 8)
    monkeypatch.setattr(planning, "_MAX_SNAPSHOTS", 10)
    monkeypatch.setattr(planning, "_CACHED_ROWS", 16)
    made, fresh = plan(*MIXTURE), plan(*MIXTURE)
    made.row(400)
    assert len(made._rows) <= 16 and len(made._snapshots) <= 10
    for i in (3, 399, 200, 201, 0):
        assert made.row(i) == fresh.row(i)
    assert made._head.next_row >= 400
