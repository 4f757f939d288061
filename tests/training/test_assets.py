"""The tokenizer and the published files of a run: copied once, whatever folder they come from."""

import os
import shutil
from types import SimpleNamespace

import pytest

from irg_jax.training.trainer import _copy_assets
from tests import tiny

BAGEL = tiny.BAGEL_TINY / "bagel"
TOKENIZER = {"tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json"}


def start(source, run, init_from=""):
    """What a start of a run copies."""
    _copy_assets(SimpleNamespace(data=SimpleNamespace(tokenizer=str(source)), init_from=str(init_from)), run)
    return {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}


def read_only(folder):
    for path in (*folder.rglob("*"), folder):
        path.chmod(path.stat().st_mode & ~0o222)


def test_the_same_command_goes_on_with_a_read_only_source(tmp_path):
    shutil.copytree(BAGEL, tmp_path / "o" / "bagel")
    read_only(tmp_path / "o")
    run = tmp_path / "run"
    first = start(tmp_path / "o" / "bagel", run, tmp_path / "o")
    assert all(os.stat(path).st_mode & 0o200 for path in run.rglob("*"))
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    assert start(tmp_path / "o" / "bagel", run, tmp_path / "o") == first
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before
    assert "bagel/ae.safetensors" in first and "bagel/ema.safetensors" not in first


def test_a_run_inside_of_the_models_folder_gets_the_tokenizer_alone(tmp_path):
    shutil.copytree(BAGEL, tmp_path / "BAGEL")
    for _ in range(2):
        found = start(tmp_path / "BAGEL", tmp_path / "BAGEL" / "run")
        assert found == {f"tokenizer/{name}" for name in TOKENIZER}


@pytest.mark.parametrize("link", [False, True])
def test_the_runs_own_tokenizer_is_not_copied_onto_itself(tmp_path, link):
    shutil.copytree(BAGEL, tmp_path / "run" / "tokenizer")
    source = tmp_path / "run" / "tokenizer"
    if link:
        source = tmp_path / "link"
        source.symlink_to(tmp_path / "run" / "tokenizer")
    before = start(source, tmp_path / "run")
    assert before == {f"tokenizer/{path.name}" for path in BAGEL.iterdir()}
