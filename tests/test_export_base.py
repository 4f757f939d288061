"""Weights that are shipped inside the package: a run exports them, others sample from them and start from them."""

import json

import pytest

from irg_jax.checkpoints.manager import Checkpointer
from irg_jax.core.config import schema
from tests import commands


@pytest.mark.slow  # trains twice; tests/checkpoints/test_base_export.py has what is written and that it is only read
def test_a_run_starts_from_weights_in_the_package(tmp_path, capfd, monkeypatch):
    first, package = tmp_path / "first", tmp_path / "site" / "irg_jax"
    stage = ["--config=template", *commands.small(data__batch_size=8)]
    done = commands.run_here(capfd, "train", *stage, f"--workdir={first}")
    assert done.returncode == 0, done.stderr
    base = package / "pretrained" / "some_base"
    done = commands.run_here(capfd, "export_base", f"--checkpoint={first}", f"--out={base}")
    assert done.returncode == 0, done.stderr
    assert f"{base}: " in done.stderr and json.loads((base / "base.json").read_text())["step"] == 2

    done = commands.run_here(
        capfd, "generate", f"--checkpoint={base}", "--prompt=a red circle", f"--out={tmp_path}/out"
    )
    assert done.returncode == 0, done.stderr

    monkeypatch.setattr(schema.irg_jax, "__file__", str(package / "__init__.py"))
    shipped = "{package}/pretrained/some_base"
    second = [f"--config.init_from={shipped}", f"--config.data.tokenizer={shipped}/tokenizer"]
    done = commands.run_here(capfd, "train", *stage, *second, f"--workdir={tmp_path / 'second'}")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "second" / "config.json").read_text())["init_from"] == shipped
    with Checkpointer(tmp_path / "second" / "checkpoints", read_only=True) as checkpoints:
        assert checkpoints.restore_meta()["origin"]["folder"] == str(base)
