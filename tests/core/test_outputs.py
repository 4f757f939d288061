"""Outputs are looked at before the work, and nothing is left behind."""

import os

import pytest

from irg_jax.core import outputs
from irg_jax.core.errors import UserError
from irg_jax.core.outputs import check_output_file, check_output_folder


def test_a_folder_that_can_be_made_is_not_made(tmp_path):
    check_output_folder(tmp_path / "deep" / "out", "--out")
    check_output_file(tmp_path / "plan.json", "--json")
    assert not any(tmp_path.iterdir())


def test_what_cannot_be_an_output_is_named_with_its_flag(tmp_path):
    file = tmp_path / "file"
    file.touch()
    for path, message in (
        (file, "--out: .*file is a file; give a folder"),
        (file / "inside", "--out: .*inside cannot be written .Not a directory"),
    ):
        with pytest.raises(UserError, match=message):
            check_output_folder(path, "--out")
    with pytest.raises(UserError, match="exists already; choose a new folder"):
        check_output_folder(tmp_path, "--out", new=True)
    with pytest.raises(UserError, match="--json: .* is a folder; give a file"):
        check_output_file(tmp_path, "--json")
    with pytest.raises(UserError, match="there is no folder .*nowhere"):
        check_output_file(tmp_path / "nowhere" / "plan.json", "--json")


def test_a_full_disk_is_noticed_first(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(outputs.os, "fsync", full)
    with pytest.raises(UserError, match="--out: .* cannot be written .No space left on device"):
        check_output_folder(tmp_path, "--out")
