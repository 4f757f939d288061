"""From records to batches: the state is one integer, processes share a batch, and errors name the record."""

import dataclasses
import io
import json

import jax
import numpy as np
import PIL.Image
import pytest

from irg_jax.core.errors import UserError
from irg_jax.data import modes, pipeline
from irg_jax.data.config import DropoutConfig
from irg_jax.data.conversation import MappedSource
from irg_jax.data.packing import layout
from irg_jax.data.pipeline import MixtureSource, PackedRows
from tests import tiny

TRAJECTORIES = [tiny.trajectory(i) for i in range(6)]
BATCH = 4


def mixture(trajectories=TRAJECTORIES):
    return [
        MixtureSource(name, weight, True, MappedSource(trajectories, modes.learning_mode(name, "good")))
        for name, weight in (("initial_full_learning", 1.0), ("improving_full_learning", 1.0))
    ]


def packed(trajectories=TRAJECTORIES, **changes):
    arguments = dict(
        processor=tiny.processor(), budgets=tiny.BUDGETS, max_sample_tokens=400, dropout=DropoutConfig(vae=0.3),
        rows_per_pack=2, seed=0, length=5 * BATCH, geometry=tiny.CONFIG.geometry,
    )  # fmt: skip
    return PackedRows(mixture(trajectories), **(arguments | changes))


def batches(rows=None, offsets=range(BATCH), threads=2):
    return pipeline.batches(rows or packed(), batch_size=BATCH, offsets=offsets, threads=threads)


def assert_same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_a_batch_has_the_shapes_and_dtypes_of_its_spec():
    spec = layout.batch_spec(BATCH, tiny.BUDGETS)
    found = jax.tree.map(lambda x: (x.shape, x.dtype), next(batches()))
    assert found == spec


def test_the_iterator_ends_after_the_last_whole_batch():
    assert len(list(batches())) == 5


def test_the_number_of_threads_changes_nothing():
    for single, threaded in zip(batches(threads=1), batches(threads=4), strict=True):
        assert_same(single, threaded)


def test_the_state_of_the_iterator_is_one_integer():
    iterator = batches()
    next(iterator), next(iterator)
    (number,) = (value for value in jax.tree.leaves(iterator.get_state()) if value)
    assert number == 2
    json.dumps(iterator.get_state())


@pytest.mark.parametrize("stop", range(4))
def test_a_restored_iterator_continues_with_the_same_batches(stop):
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


@pytest.mark.parametrize("offsets", [(0, 1), (2, 3), (1,), (0, 1, 2, 3)])
def test_a_process_builds_only_its_rows_of_every_batch(offsets):
    for part, whole in zip(batches(offsets=offsets), batches(), strict=True):
        assert_same(part, jax.tree.map(lambda x: x[list(offsets)], whole))


def test_keys_name_the_records_of_a_row():
    rows = packed()
    keys = [key for i in range(4) for key in rows.keys(i)]
    assert {key.partition(":")[0] for key in keys} == set(rows.modes)
    assert {key.partition(":")[2] for key in keys} <= {t.key for t in TRAJECTORIES}


def test_every_token_of_a_row_has_its_mode():
    rows = packed()
    assert rows.modes == ["initial_full_learning", "improving_full_learning"]
    for i in range(4):
        found = set(rows[i]["und"]["mode"]) - {-1}
        assert {rows.modes[m] for m in found} == {key.partition(":")[0] for key in rows.keys(i)}


# --- bad records


def test_samples_that_fit_no_row_are_left_out_and_listed():
    long = dataclasses.replace(TRAJECTORIES[2], thinking2="circle " * 500)
    rows = packed([*TRAJECTORIES[:2], long, *TRAJECTORIES[3:]])
    assert rows.oversize == {"improving_full_learning": [long.key]}
    assert not any(f"improving_full_learning:{long.key}" in rows.keys(i) for i in range(len(rows)))


def test_a_mode_without_a_sample_that_fits_is_an_error():
    long = [dataclasses.replace(t, thinking2="circle " * 500) for t in TRAJECTORIES]
    with pytest.raises(UserError, match="improving_full_learning has no sample that fits"):
        packed(long)


def test_a_corrupt_image_is_found_while_the_data_is_indexed():
    broken = dataclasses.replace(TRAJECTORIES[2], image2=TRAJECTORIES[2].image2[:200])
    with pytest.raises(UserError, match=f"record {broken.key}: an image cannot be decoded"):
        packed([broken])


@pytest.mark.parametrize("threads", [0, 1, 4])
def test_an_image_that_fails_to_decode_in_a_thread_is_named_to_the_caller_of_the_iterator(threads):
    """The header of a truncated JPEG is intact, so this one is found only when its row is built, in a thread."""
    buffer = io.BytesIO()
    PIL.Image.open(io.BytesIO(TRAJECTORIES[2].image2)).save(buffer, "JPEG")
    truncated = dataclasses.replace(TRAJECTORIES[2], image2=buffer.getvalue()[: -len(buffer.getvalue()) // 3])
    iterator = batches(packed([truncated]), threads=threads)
    with pytest.raises(UserError, match=f"record {truncated.key}: an image cannot be decoded"):
        next(iterator)
