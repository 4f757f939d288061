"""Weights to ship: the same to the last bit of bfloat16, movable, complete, and only ever read."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from irg_jax.checkpoints.base_export import write_base
from irg_jax.checkpoints.manager import Checkpointer
from irg_jax.checkpoints.weights import digest, find_origin, model_weights, open_stage, read_ema
from irg_jax.core.config.files import load, to_json
from irg_jax.core.errors import UserError
from irg_jax.data import tokenizer
from irg_jax.sampling.engine import load_sampler
from tests import tiny

RUN = {"commit": "0123abc", "started": "2026-11-26T10:00:00+00:00"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of one stage with a whole state, as training saves it."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    config = load("template").copy_and_resolve_references()
    with config.unlocked():
        config.model = ConfigDict(dataclasses.asdict(tiny.CONFIG))
        config.data.tokenizer = f"{folder}/tokenizer"
    weights = tiny.weights()
    with Checkpointer(folder / "stage1" / "checkpoints") as checkpoints:
        checkpoints.save(
            40, params=weights, ema=weights, opt={"count": np.int32(40)}, data={}, meta={"config": to_json(config)}
        )
    tokenizer.copy(tiny.BAGEL_TINY / "bagel", folder / "stage1" / "tokenizer")
    command = f"python -m irg_jax.train --config {folder}/mine.py --workdir={folder} --config.seed=1"
    (folder / "run.json").write_text(json.dumps(RUN | {"command": command}))
    return folder


@pytest.fixture(scope="module")
def base(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bases") / "base"
    write_base(open_stage(run), folder)
    return folder


def test_the_weights_are_those_of_the_run_in_bfloat16(run, base):
    found, wanted = model_weights(open_stage(base)), model_weights(open_stage(run))
    for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_array_equal(x, y.astype("bfloat16").astype(x.dtype))


def test_the_record_says_which_run_trained_them(run, base):
    record = json.loads((base / "base.json").read_text())
    weights = sum(x.size for x in jax.tree.leaves(tiny.weights()))
    assert record["command"] == "python -m irg_jax.train --config mine.py --workdir=RUN --config.seed=1"
    assert (record["commit"], record["date"]) == tuple(RUN.values())
    assert (record["stage"], record["step"], record["weights"]) == ("stage1", 40, weights)
    assert record["digest"] == digest(tiny.weights()) == digest(model_weights(open_stage(base)))
    others = [file for file in base.rglob("*") if file.is_file() and file.name != "base.json"]
    assert record["bytes"] == sum(file.stat().st_size for file in others)


def test_it_is_two_bytes_a_weight_in_few_files(base):
    files = [file for file in (base / "checkpoints").rglob("*") if file.is_file()]
    weights = sum(x.size for x in jax.tree.leaves(tiny.weights()))
    about = 80_000  # what Orbax writes about the weights
    assert sum(file.stat().st_size for file in files) < 2 * weights + about and len(files) < 40


def test_no_file_names_the_folder_that_it_came_from(run, base):
    for file in base.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert str(run.parent).encode() not in content and str(base.parent).encode() not in content, file


def test_it_is_sampled_from_and_started_from_without_being_written_to(base, tmp_path):
    moved = shutil.copytree(base, tmp_path / "site" / "pretrained" / "base")
    before = snapshot(moved)
    sampler = load_sampler(moved)
    assert sampler.origin.step == 0
    folder, step = find_origin(str(moved), None)
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, "float32", sharding=sharding), tiny.weights())
    started = read_ema(folder, abstract, step=step)
    assert digest(started) == digest(tiny.weights())
    tokenizer.copy(moved / "tokenizer", tmp_path / "run" / "tokenizer")
    assert snapshot(moved) == before


def snapshot(folder):
    """What is written to in any way has another time."""
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in [folder, *folder.rglob("*")]}


def test_weights_without_the_record_of_a_run_are_refused(run, tmp_path):
    bare = shutil.copytree(run / "stage1", tmp_path / "deep" / "bare")
    with pytest.raises(UserError, match="bare: has no run.json that says how it was trained; give a run"):
        write_base(open_stage(bare), tmp_path / "base")
    (bare / "run.json").write_text("{")
    with pytest.raises(UserError, match=r"bare/run.json: cannot be read \(Expecting"):
        write_base(open_stage(bare), tmp_path / "base")
    assert not (tmp_path / "base").exists()
