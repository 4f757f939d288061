"""From records to batches: one integer is the whole state, processes share a batch, and errors name the record."""

import dataclasses
import io
import json

import jax
import numpy as np
import PIL.Image
import pytest

from irg_jax.data import layout, modes, pipeline
from irg_jax.data.conversation import MappedSource
from irg_jax.data.packing import Dropout
from irg_jax.data.pipeline import MixtureRow, PackedRows
from irg_jax.errors import UserError
from tests import tiny

TRAJECTORIES = [tiny.trajectory(i) for i in range(6)]
BATCH = 4


def mixture(trajectories=TRAJECTORIES):
    return [
        MixtureRow(name, weight, True, MappedSource(trajectories, modes.learning_mode(name, "good")))
        for name, weight in (("initial_full_learning", 1.0), ("improving_full_learning", 1.0))
    ]


def packed(trajectories=TRAJECTORIES, **changes):
    settings = dict(
        vocabulary=tiny.vocabulary(), budgets=tiny.BUDGETS, max_sample_tokens=400, dropout=Dropout(vae=0.3),
        rows_per_pack=2, seed=0, length=5 * BATCH, max_latent_size=tiny.CONFIG.max_latent_size,
        vit_patches_per_side=tiny.CONFIG.vit.patches_per_side,
    )  # fmt: skip
    return PackedRows(mixture(trajectories), **(settings | changes))


def batches(rows=None, process_index=0, process_count=1, threads=2):
    return pipeline.batches(
        rows or packed(), batch_size=BATCH, process_index=process_index, process_count=process_count, threads=threads
    )


def assert_same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_a_batch_has_the_shapes_that_the_step_is_compiled_for():
    spec = layout.batch_spec(BATCH, tiny.BUDGETS)
    found = jax.tree.map(lambda x: (x.shape, x.dtype), next(batches()))
    assert found == spec


def test_a_run_reads_as_many_batches_as_it_has_rows_for():
    assert len(list(batches())) == 5


def test_threads_change_nothing():
    for one, many in zip(batches(threads=1), batches(threads=4), strict=True):
        assert_same(one, many)


def test_the_state_is_one_integer():
    iterator = batches()
    next(iterator), next(iterator)
    (number,) = (value for value in jax.tree.leaves(iterator.get_state()) if value)
    assert number == 2
    json.dumps(iterator.get_state())


@pytest.mark.parametrize("stop", range(4))
def test_a_restored_iterator_goes_on_with_the_same_batches(stop):
    whole = list(batches())
    iterator = batches()
    for _ in range(stop):
        next(iterator)
    state = iterator.get_state()
    fresh = batches(packed())
    fresh.set_state(state)
    rest = list(fresh)
    assert len(rest) == len(whole) - stop
    for a, b in zip(rest, whole[stop:], strict=True):
        assert_same(a, b)


@pytest.mark.parametrize("processes", [2, 4])
def test_the_shares_of_all_processes_are_the_global_batch_in_order(processes):
    shares = zip(*(batches(process_index=p, process_count=processes) for p in range(processes)), strict=True)
    for parts, whole in zip(shares, batches(), strict=True):
        assert_same(jax.tree.map(lambda *x: np.concatenate(x), *parts), whole)


def test_rows_must_divide_over_the_processes():
    with pytest.raises(UserError, match="data.batch_size: 4 rows do not divide over 3 processes"):
        batches(process_count=3)


def test_keys_and_fill_say_what_is_in_a_row():
    rows = packed()
    keys = [key for i in range(4) for key in rows.keys(i)]
    assert {key.partition(":")[0] for key in keys} == set(rows.modes)
    assert {key.partition(":")[2] for key in keys} <= {t.key for t in TRAJECTORIES}
    used = [(rows[i][stream]["position"] >= 0).mean() for stream in ("und", "gen") for i in range(4)]
    np.testing.assert_allclose(list(rows.fill(range(4)).values()), np.reshape(used, (2, 4)).mean(1))


def test_rows_name_the_mode_of_every_token():
    rows = packed()
    assert rows.modes == ["initial_full_learning", "improving_full_learning"]
    for i in range(4):
        found = set(rows[i]["und"]["mode"]) - {-1}
        assert {rows.modes[m] for m in found} == {key.partition(":")[0] for key in rows.keys(i)}


# --- records that cannot be used


def test_samples_that_fit_no_row_are_left_out_and_named():
    long = dataclasses.replace(TRAJECTORIES[2], thinking2="circle " * 500)
    rows = packed([*TRAJECTORIES[:2], long, *TRAJECTORIES[3:]])
    assert rows.oversize == {"improving_full_learning": [long.key]}
    assert not any(f"improving_full_learning:{long.key}" in rows.keys(i) for i in range(len(rows)))


def test_a_mode_of_which_nothing_fits_is_an_error():
    long = [dataclasses.replace(t, thinking2="circle " * 500) for t in TRAJECTORIES]
    with pytest.raises(UserError, match="improving_full_learning has no sample that fits"):
        packed(long)


def test_a_corrupt_picture_is_found_while_the_data_is_indexed():
    broken = dataclasses.replace(TRAJECTORIES[2], image2=TRAJECTORIES[2].image2[:200])
    with pytest.raises(UserError, match=f"record {broken.key}: an image cannot be decoded"):
        packed([broken])


@pytest.mark.parametrize("threads", [0, 1, 4])
def test_a_picture_that_breaks_later_reaches_the_caller_of_the_iterator_by_name(threads):
    """The header of a JPEG says nothing about its end, so this one is found only when its row is built, in a thread."""
    buffer = io.BytesIO()
    PIL.Image.open(io.BytesIO(TRAJECTORIES[2].image2)).save(buffer, "JPEG")
    cut = dataclasses.replace(TRAJECTORIES[2], image2=buffer.getvalue()[: -len(buffer.getvalue()) // 3])
    iterator = batches(packed([cut]), threads=threads)
    with pytest.raises(UserError, match=f"record {cut.key}: an image cannot be decoded"):
        next(iterator)
