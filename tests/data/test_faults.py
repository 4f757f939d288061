"""Faults that a review of the data path found, F1 to F12: each is provoked as a user would meet it.

What other files provoke already is not repeated; their names are below tests/data where no folder is given.

F1, data that change under a resume: runs here; fingerprints in test_pipeline, --allow_changes in tests/experiment.
F2, machines that see different data: two processes here.
F3, a shard replaced under a running job: files here; records and their lengths in test_pipeline.
F4, a truncated JPEG: here; more of its kind in test_pipeline and importing/test_irgl_folders.
F5, one bad row a start: all at once here; what an index rejects in index/test_index.
F6, every start reads all records: here; who makes an index in index/test_index.
F7, a record costs a row group: here; groups that are refused in sources/test_irgl and sources/test_text_to_image.
F8, shares that are not the weights, modes that come late: packing/test_plan, test_pipeline.
F9, budgets that do not fit the data: packing/test_shipped_budgets; how full any row is in packing/test_plan.
F10, no worker processes, or always as many: here; workers and threads in test_pipeline; epoch, a command.
F11, memory without a bound: rows ahead and texts here; the plan in packing/test_plan, row groups in sources/test_irgl.
F12, needless copies of pictures: here.
"""

import dataclasses
import io
import json
import os
import pathlib
import shutil
import socket
import time

import jax
import numpy as np
import PIL.Image
import pytest

from irg_jax.core.config.files import load
from irg_jax.core.config.schema import replaced
from irg_jax.core.errors import UserError
from irg_jax.data import images, pipeline
from irg_jax.data.pipeline import Batches
from irg_jax.data.sources.irgl import IRGLSource
from irg_jax.data.sources.trajectories import TrajectorySource, open_source
from irg_jax.data.tokenizer import Tokenizer
from irg_jax.experiment import stages
from irg_jax.sharding.mesh import make_mesh
from irg_jax.training import trainer
from irg_jax.training.config import parse_stage
from tests import tiny
from tests.commands import SMALL
from tests.data.importing.inputs import TOY, Copy
from tests.data.small_sets import RECORDS, build, published, rows_of
from tests.data.test_factory import CONFIG
from tests.data.test_pipeline import packed
from tests.sharding.test_processes import start

BATCH = 4


def assert_same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


# --- F1: the data change, and the run goes on


@pytest.fixture(scope="module")
def one_device():
    """Compiling for one device takes a fraction of the time."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (stages, trainer):
            patch.setattr(module, "make_mesh", lambda axes: make_mesh(axes, jax.devices()[:1]))
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory, one_device):
    """A run of one step, its stage, and the data set that it saw."""
    data = build(tmp_path_factory.mktemp("trained") / "data")
    own = {
        "steps": 1,
        "data.sources.shapes.world": None,
        "data.sources.shapes.dir": str(data),
        "data.tokenizer": str(tiny.BAGEL_TINY / "bagel"),
    }
    stage = replaced(parse_stage(load("template")), {"optim.warmup_steps": 0} | SMALL | own)
    stages.run(stage, data.with_name("run"))
    return stage, data.with_name("run"), data


@pytest.fixture
def resume(trained, tmp_path):
    """Goes on with a copy of the run, one step further, with changes to the stage."""
    stage, run, _ = trained
    copy = shutil.copytree(run, tmp_path / "run")

    def go_on(**changes):
        stages.run(replaced(stage, {"steps": 2} | {name.replace("__", "."): x for name, x in changes.items()}), copy)

    return go_on


EDITED = dataclasses.replace(RECORDS[5], prompt="a photo of 9 circles")  # as long as before


@pytest.mark.parametrize(
    "records",
    [RECORDS[::-1], RECORDS[:-1], [*RECORDS, tiny.trajectory(24)], [*RECORDS[:5], EDITED, *RECORDS[6:]]],
    ids=["reversed", "removed", "added", "edited"],
)
def test_f1_a_run_refuses_to_go_on_with_other_records(resume, tmp_path, records):
    data = build(tmp_path / "data", records)
    with pytest.raises(
        UserError, match=f"the data have changed since step 1: .* 24 samples, .* {len(records)} samples"
    ):
        resume(data__sources__shapes__dir=str(data))


@pytest.mark.parametrize("change", ["other lengths", "other ids alone"])
def test_f1_a_run_refuses_to_go_on_with_another_tokenizer(resume, tmp_path, change):
    other = shutil.copytree(tiny.BAGEL_TINY / "bagel", tmp_path / "tokenizer")
    whole = json.loads((other / "tokenizer.json").read_text())
    merges, vocab = whole["model"]["merges"], whole["model"]["vocab"]
    if change == "other lengths":
        del merges[len(merges) // 2 :]
    else:
        vocab["a"], vocab["b"] = vocab["b"], vocab["a"]
    (other / "tokenizer.json").write_text(json.dumps(whole))
    for name in ("vocab.json", "merges.txt"):
        (other / name).unlink(missing_ok=True)
    with pytest.raises(UserError, match="differs from .*a run keeps its tokenizer"):
        resume(data__tokenizer=str(other))


def test_f1_a_run_goes_on_where_nothing_of_the_data_differs(trained, resume, tmp_path):
    """The folders are elsewhere, with other times, so that the index is made anew; other threads, workers, buffers."""
    data = shutil.copytree(trained[2], tmp_path / "moved", copy_function=shutil.copyfile)
    tokenizer = shutil.copytree(tiny.BAGEL_TINY / "bagel", tmp_path / "tokenizer")
    resume(
        data__sources__shapes__dir=str(data), data__tokenizer=str(tokenizer), data__threads=3, data__workers=2,
        data__buffer_gb=0.1, data__on_error="replace",
    )  # fmt: skip
    assert (tmp_path / "run" / "checkpoints" / "00000002").is_dir()


# --- F2: a machine has a stale copy of the data


def test_f2_processes_that_see_other_data_end_before_the_first_step(tmp_path):
    for index, records in enumerate((RECORDS, RECORDS[:18])):
        build(tmp_path / f"data{index}", records)
    shutil.copytree(tiny.BAGEL_TINY / "bagel", tmp_path / "tokenizer")
    started = start(2, tmp_path, module="tests.data.seeing_worker", devices=2)
    outputs = [process.communicate(timeout=240)[0] for process in started]
    assert [process.returncode for process in started] == [2, 2], outputs
    told = f"error: process 1 on {socket.gethostname()}"
    for output in outputs:
        assert told in output and "another training data than process 0" in output, output
        assert "18 samples" in output and "24 samples" in output, output
        assert "compiling the step" not in output and "Traceback" not in output, output


# --- F3: a shard is replaced under a running job


def replace_shards(folder, other):
    for path in folder.glob("**/*.array_record*"):
        os.replace(other / path.relative_to(folder), path)
    for path in folder.glob("**/*.parquet"):
        os.replace(other / path.relative_to(folder), path)


def build_or_refusal(rows, i):
    try:
        return rows[i]
    except UserError as error:
        assert "record" in str(error) and ("changed" in str(error) or "planned" in str(error)), error
        return None


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("kind", ["irgl", "published"])
def test_f3_rows_are_right_or_refused_after_a_shard_is_replaced(tmp_path, kind, workers):
    """A reader that has the old file open may go on with it; whoever opens the new one has to notice."""
    data, other = tmp_path / "data", tmp_path / "other"
    if kind == "irgl":
        build(data)
        build(other, RECORDS[::-1])
        rows, wanted = rows_of(data), rows_of(data)
    else:
        copy = Copy(data)
        copy.write()
        copy.folder, copy.cells = other, {mode: cells[::-1] for mode, cells in copy.cells.items()}
        copy.write()
        rows, wanted = published(data), published(data)
    wanted = [wanted[i] for i in range(12)]
    replace_shards(data, other)
    if workers:
        with (
            Batches(rows, 3, batch_size=BATCH, offsets=range(BATCH), workers=workers) as batches,
            pytest.raises(UserError, match="has changed since the data set was indexed; start the run again"),
        ):
            list(batches)
        return
    found = [build_or_refusal(rows, i) for i in range(12)]
    for row, right in zip(found, wanted, strict=True):
        if row is not None:
            assert_same(row, right)


# --- F4: a picture that can be decoded in part


def jpeg(content):
    file = io.BytesIO()
    PIL.Image.open(io.BytesIO(content)).resize((64, 64)).save(file, "JPEG")
    return file.getvalue()


def with_truncated(count, *places):
    """Records of which some have a truncated JPEG: its header is whole, so the index has its size."""
    records = [tiny.trajectory(i) for i in range(count)]
    for i in places:
        content = jpeg(records[i].image2)
        records[i] = dataclasses.replace(records[i], image2=content[: -len(content) // 3])
    return records


@pytest.fixture
def truncated(tmp_path):
    """The toy data set with one truncated picture, read as it was published."""
    copy = Copy(tmp_path / "toy")
    content = jpeg(tiny.png())
    copy.image("initial_full_learning", 7, content[: -len(content) // 3])
    copy.write()
    return copy.folder


FULL = tuple(entry for entry in CONFIG.mixture if entry.mode == "initial_full_learning")
BAD = "initial_full_learning/part-00000.parquet:7"


def test_f4_a_build_finds_a_truncated_picture(tmp_path):
    with pytest.raises(UserError, match=r"1 of 4 rows cannot be used.*in.jsonl row 2: image2: .*cannot be decoded"):
        build(tmp_path / "data", with_truncated(4, 2))


def test_f4_a_run_stops_at_it_by_name(truncated):
    rows = published(truncated, mixture=FULL)
    at = next(i for i in range(100) if any(BAD in key for key in rows.keys(i)))
    with pytest.raises(UserError, match=f"record {BAD}: an image cannot be decoded .*repair or remove"):
        rows[at]


def test_f4_or_replaces_it_by_the_same_record_after_every_restart(truncated, caplog):
    rows = published(truncated, mixture=FULL, on_error="replace")
    at = next(i for i in range(100) if any(BAD in key for key in rows.keys(i)))
    first = rows[at]
    assert f"row {at}: record {BAD}: an image cannot be decoded" in caplog.text and "replaced by sample" in caplog.text
    again = published(truncated, mixture=FULL, on_error="replace")
    again.resume(json.loads(json.dumps(rows.state(at))))
    assert_same(again[at], first)


def test_f4_two_damaged_records_are_not_replaced_by_each_other_for_ever():
    """Both are smaller than all others, so that each is the only one that fits into the place of the other."""
    records = with_truncated(200, 0, 1)
    records[:2] = [dataclasses.replace(record, prompt="a", thinking1="b") for record in records[:2]]
    rows = packed(records, replaces=True)
    at = next(i for i in range(400) if f"initial_full_learning:{records[0].key}" in rows.keys(i))
    assert len(rows[at].images) < sum(2 if "improving" in key else 1 for key in rows.keys(at))  # it is left out


# --- F5: bad rows show one by one, a start for each


def test_f5_all_bad_rows_are_in_one_message_and_one_list(tmp_path):
    copy = Copy(tmp_path / "toy")
    cells = copy.cells["initial_full_learning"]
    cells[3], cells[9], cells[20] = "not JSON", None, json.dumps([{"role": "critic", "content": "x"}])
    copy.image("initial_full_learning", 14, b"no picture")
    copy.write()
    with pytest.raises(UserError, match=r":3: .*not valid JSON.*4 records of 24 cannot be used: (\S+) lists") as caught:
        published(copy.folder, mixture=FULL)
    listed = pathlib.Path(str(caught.value).partition("cannot be used: ")[2].partition(" lists")[0])
    lines = [json.loads(line) for line in listed.read_text().splitlines()]
    assert [line["index"] for line in lines] == [3, 9, 14, 20]
    assert all(
        line["reason"].startswith(f"record initial_full_learning/part-00000.parquet:{line['index']}") for line in lines
    )


# --- F6: every start reads all records


@pytest.mark.parametrize("kind", ["irgl", "published"])
def test_f6_a_second_start_reads_no_record(tmp_path, monkeypatch, kind):
    source, read = {"irgl": (TrajectorySource, 24), "published": (IRGLSource, 6 * 24)}[kind]
    data = build(tmp_path / "data") if kind == "irgl" else shutil.copytree(TOY, tmp_path / "data")
    shutil.rmtree(data / ".index", ignore_errors=True)
    calls, original = [], source.read
    monkeypatch.setattr(source, "read", lambda self, index: calls.append(index) or original(self, index))
    make = rows_of if kind == "irgl" else published
    first = make(data)
    assert len(calls) == read  # each once; one index serves both modes of the trajectories
    calls.clear()
    second = make(data)
    assert second.plan.row(40) == first.plan.row(40) and second.fingerprint == first.fingerprint
    assert not calls


# --- F7: a record costs the reading of many


@pytest.mark.skipif(not os.path.exists("/proc/self/io"), reason="Linux counts the bytes that a process reads")
def test_f7_a_record_of_a_built_data_set_is_read_alone(tmp_path):
    records = [dataclasses.replace(tiny.trajectory(i), image2=tiny.png(i, 256, 256)) for i in range(40)]
    source = open_source(build(tmp_path / "data", records), "train")
    source.read(0)  # the file's own index
    before = _bytes_read()
    for i in range(39, -1, -3):
        source.read(i)
    wanted = sum(len(records[i].image2) for i in range(39, -1, -3))
    assert wanted < _bytes_read() - before < 1.3 * wanted


def _bytes_read():
    return int(pathlib.Path("/proc/self/io").read_text().split("rchar: ")[1].split()[0])


# --- F10: another number of workers and hosts


def test_f10_a_run_goes_on_with_other_hosts_and_workers(tmp_path):
    data = build(tmp_path / "data")
    whole = list(Batches(rows_of(data), 6, batch_size=BATCH, offsets=range(BATCH)))
    state, at = None, 0
    for hosts, workers, count in ((1, 2, 2), (2, 1, 2), (4, 0, 1), (1, 1, 1)):
        parts = []
        for host in range(hosts):
            rows = rows_of(data)
            first = rows.resume(json.loads(state)) if state else 0
            share = range(BATCH)[host * BATCH // hosts : (host + 1) * BATCH // hosts]
            with Batches(rows, count, batch_size=BATCH, offsets=share, first=first, workers=workers) as batches:
                parts.append([next(batches) for _ in range(count)])
        for i in range(count):
            assert_same(jax.tree.map(lambda *x: np.concatenate(x), *(part[i] for part in parts)), whole[at + i])
        at += count
        state = json.dumps(rows.state(at * BATCH))


# --- F11: memory that grows with threads, rows and texts


@pytest.mark.parametrize(("options", "most"), [({"threads": 2}, 10), ({"workers": 1}, 10)])
def test_f11_rows_that_are_built_ahead_are_bounded_in_bytes(tmp_path, monkeypatch, options, most):
    rows = rows_of(build(tmp_path / "data"))
    built, build_row = [], rows.build
    monkeypatch.setattr(rows, "build", lambda i, read: built.append(i) or build_row(i, read))
    four = 4 * pipeline._row_bytes(rows.budgets) / 1e9
    with Batches(rows, 50, batch_size=1, offsets=[0], buffer_gb=four, **options) as batches:
        next(batches)
        wait_until_still(built)
        assert 4 <= len(built) <= most, len(built)


def wait_until_still(built):
    before = -1
    while len(built) != before:
        before = len(built)
        time.sleep(0.3)


def test_f11_the_texts_that_a_tokenizer_remembers_are_bounded():
    words = Tokenizer(tiny.BAGEL_TINY / "bagel")
    for i in range(3000):
        words.encode(f"a photo of {i} circles")
    assert words._encode.cache_info().currsize < 3000


# --- F12: every picture is copied twice


def test_f12_an_upright_picture_in_rgb_is_decoded_and_no_more(monkeypatch):
    content = jpeg(tiny.png())
    for name in ("convert", "copy", "transpose"):
        monkeypatch.setattr(PIL.Image.Image, name, lambda *a, name=name, **b: pytest.fail(f"{name} copies the picture"))
    assert images.decode(content, "k").size == (64, 64)
