"""From records to batches: the state is one integer, processes share a batch, and errors name the record."""

import dataclasses
import io
import json
import pathlib
import subprocess
import sys

import jax
import numpy as np
import PIL.Image
import pytest

from irg_jax.core.errors import ConfigError, StorageError, UserError
from irg_jax.data import modes, sources
from irg_jax.data.checksum import checksum
from irg_jax.data.config import DropoutConfig
from irg_jax.data.conversation import Record
from irg_jax.data.index import trajectories
from irg_jax.data.index.trajectories import ModeSamples
from irg_jax.data.packing import layout
from irg_jax.data.pipeline import Batches, MixtureSource, PackedRows
from tests import tiny

TRAJECTORIES = [tiny.trajectory(i) for i in range(6)]
BATCH = 4
SOURCES = pathlib.Path(sources.__file__).parent


class InMemory:
    """A source of the conversations of one mode; picklable."""

    files = ()
    kind = "in memory"

    def __init__(self, records, mode):
        self.records, self.mode = records, mode

    def __len__(self):
        return len(self.records)

    def key(self, index):
        return self.records[index].key

    def read(self, index):
        record = self.records[index]
        return Record((modes.conversation(record, self.mode),), crc(record))


def crc(record):
    return checksum([repr(dataclasses.astuple(record)).encode()])


def mixture(records=TRAJECTORIES, read=None):
    """Both full modes; ``read`` are the records as they are read later, if they have changed since the index."""
    processor, made = tiny.processor(), []
    described = [(i, record, crc(record)) for i, record in enumerate(records)]
    rows, rejected = trajectories.describe(described, processor.tokenizer)
    assert not rejected
    for name in ("initial_full_learning", "improving_full_learning"):
        mode = modes.learning_mode(name)
        source = InMemory(read or records, mode)
        made.append(MixtureSource(name, 1.0, True, source, ModeSamples(rows, mode, processor)))
    return made


def packed(records=TRAJECTORIES, read=None, **changes):
    arguments = dict(
        processor=tiny.processor(), budgets=tiny.BUDGETS, max_sample_tokens=400, dropout=DropoutConfig(vae=0.3),
        rows_per_pack=2, seed=0, geometry=tiny.CONFIG.geometry,
    )  # fmt: skip
    return PackedRows(mixture(records, read), **(arguments | changes))


def batches(rows=None, count=5, offsets=range(BATCH), **options):
    return Batches(rows or packed(), count, batch_size=BATCH, offsets=offsets, **options)


def assert_same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_a_batch_has_the_shapes_and_dtypes_of_its_spec():
    spec = layout.batch_spec(BATCH, tiny.BUDGETS)
    found = jax.tree.map(lambda x: (x.shape, x.dtype), next(batches()))
    assert found == spec


def test_the_iterator_ends_after_the_last_batch():
    assert len(list(batches())) == 5


@pytest.mark.parametrize("options", [{"threads": 4}, {"workers": 2}, {"workers": 1, "buffer_gb": 1e-9}])
def test_threads_processes_and_buffers_change_nothing(options):
    with batches(**options) as others:
        for single, other in zip(batches(threads=1), others, strict=True):
            assert_same(single, other)


@pytest.mark.parametrize("stop", range(4))
@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_goes_on_with_the_same_batches_from_its_next_row(stop, workers):
    whole, rows = list(batches()), packed()
    with batches(rows, workers=workers) as iterator:
        for _ in range(stop):
            next(iterator)
    state = json.loads(json.dumps(rows.state(stop * BATCH)))
    assert state["row"] == stop * BATCH
    again = packed()
    with batches(again, 5 - stop, first=again.resume(state), workers=workers) as iterator:
        for a, b in zip(iterator, whole[stop:], strict=True):
            assert_same(a, b)


def test_a_run_may_go_on_with_another_batch_size_at_the_same_row():
    rows = packed()
    whole = [rows[i] for i in range(12)]
    for batch, first in zip(Batches(rows, 3, batch_size=2, offsets=range(2), first=4), (4, 6, 8), strict=True):
        assert_same(batch, layout.stack(whole[first : first + 2], tiny.BUDGETS))


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
        found = set(rows[i].und["mode"])
        assert {rows.modes[m] for m in found} == {key.partition(":")[0] for key in rows.keys(i)}


def test_a_worker_that_is_killed_is_an_error_that_may_pass():
    with batches(count=50, workers=1) as iterator:
        next(iterator)
        iterator._workers._all[0].kill()
        with pytest.raises(StorageError, match="a data worker has ended with status -9; .* lower data.workers"):
            list(iterator)


def test_workers_import_neither_jax_nor_tfds():
    names = [f"irg_jax.data.sources.{path.stem}" for path in SOURCES.glob("[!_]*.py")]
    code = f"import sys, irg_jax.data.worker, irg_jax.data.rows, {', '.join(names)}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "irg_jax.data.sources.trajectories" in loaded
    assert not {"jax", "tensorflow", "tensorflow_datasets", "grain"} & set(loaded)


# --- fingerprint


@pytest.mark.parametrize(
    "change",
    [
        lambda records: records[::-1],
        lambda records: records[:-1],
        lambda records: [dataclasses.replace(records[0], prompt="a photo of 9 circles"), *records[1:]],
        lambda records: [dataclasses.replace(records[0], image2=tiny.png(99)), *records[1:]],
    ],
)
def test_other_records_have_another_fingerprint(change):
    assert packed().fingerprint == packed().fingerprint
    before, after = packed().fingerprint, packed(change(TRAJECTORIES)).fingerprint
    assert before["plan"] == after["plan"]
    assert before["improving_full_learning"] != after["improving_full_learning"]


@pytest.mark.parametrize("change", [{"seed": 1}, {"rows_per_pack": 4}, {"dropout": DropoutConfig(vae=0.1)}])
def test_another_plan_has_another_fingerprint(change):
    before, after = packed().fingerprint, packed(**change).fingerprint
    assert {name for name in before if before[name] != after[name]} == {"plan"}


def test_a_new_plan_begins_at_the_row_of_the_change():
    rows = packed()
    state = rows.state(7)
    changed = packed(TRAJECTORIES[::-1])
    assert changed.begin_anew(state) == 8  # the first of a pack of two
    first = changed[8]
    again = packed(TRAJECTORIES[::-1])
    again.resume(json.loads(json.dumps(changed.state(9))))
    assert_same(again[8], first)


# --- bad records


def test_samples_that_fit_no_row_are_left_out_and_counted():
    long = dataclasses.replace(TRAJECTORIES[2], thinking2="circle " * 500)
    rows = packed([*TRAJECTORIES[:2], long, *TRAJECTORIES[3:]])
    assert rows.oversize == {"improving_full_learning": 1}
    assert not any(f"improving_full_learning:{long.key}" in rows.keys(i) for i in range(20))


def test_a_mode_without_a_sample_that_fits_is_an_error():
    long = [dataclasses.replace(t, thinking2="circle " * 500) for t in TRAJECTORIES]
    with pytest.raises(UserError, match="improving_full_learning has no sample that fits"):
        packed(long)


def test_mandatory_modes_that_contradict_the_weights_are_refused_with_the_shares():
    uneven = [dataclasses.replace(entry, weight=weight) for entry, weight in zip(mixture(), (9.0, 1.0), strict=True)]
    arguments = dict(
        processor=tiny.processor(), budgets=tiny.BUDGETS, max_sample_tokens=400, dropout=DropoutConfig(), seed=0,
        geometry=tiny.CONFIG.geometry,
    )  # fmt: skip
    with pytest.raises(ConfigError, match=r"contradicts the weights .*improving_full_learning 0.\d+ instead of 0.100"):
        PackedRows(uneven, rows_per_pack=1, **arguments)
    assert PackedRows(uneven, rows_per_pack=8, **arguments)[0].und


def truncated_jpeg(record):
    """The header of a truncated JPEG is intact, so it is found only when its row is built."""
    buffer = io.BytesIO()
    PIL.Image.open(io.BytesIO(record.image2)).save(buffer, "JPEG")
    return dataclasses.replace(record, image2=buffer.getvalue()[: -len(buffer.getvalue()) // 3])


@pytest.mark.parametrize("options", [{"threads": 1}, {"threads": 4}, {"workers": 1}])
def test_an_image_that_cannot_be_decoded_is_named_to_the_caller_of_the_iterator(options):
    truncated = truncated_jpeg(TRAJECTORIES[2])
    with (
        batches(packed([truncated]), **options) as iterator,
        pytest.raises(UserError, match=f"record {truncated.key}: an image cannot be decoded"),
    ):
        next(iterator)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_shard_that_is_replaced_under_a_running_job_never_gives_a_wrong_batch(workers):
    with (
        batches(packed(read=TRAJECTORIES[::-1]), workers=workers) as iterator,
        pytest.raises(UserError, match=r"record train/00000\d: has changed since the data set was indexed"),
    ):
        next(iterator)


def test_a_record_of_another_length_than_planned_is_named(monkeypatch):
    longer = [dataclasses.replace(t, thinking1=f"{t.thinking1} and more") for t in TRAJECTORIES]
    monkeypatch.setattr("tests.data.test_pipeline.crc", lambda record: 0)
    with pytest.raises(UserError, match=r"record train/00000\d: part 1 has \d+ tokens, and \d+ were planned"):
        packed(read=longer)[0]


def test_a_damaged_record_is_replaced_by_name_and_the_same_way_each_time(caplog):
    damaged = [*TRAJECTORIES[:2], truncated_jpeg(TRAJECTORIES[2]), *TRAJECTORIES[3:]]
    first, again = (list(batches(packed(damaged, replaces=True), 8, workers=workers)) for workers in (0, 1))
    assert_same(first, again)
    assert any("replaced by sample" in message and "record train/000002" in message for message in caplog.messages)


def test_too_many_damaged_records_end_the_run():
    damaged = [*map(truncated_jpeg, TRAJECTORIES[:5]), TRAJECTORIES[5]]
    with pytest.raises(UserError, match="samples of 6 could not be read, more than 1%"):
        list(batches(packed(damaged, replaces=True)))
