"""A run's folder belongs to one config, and its record adds up over restarts."""

import json

import pytest

from irg_jax.core.config.files import load
from irg_jax.core.config.schema import replaced
from irg_jax.core.errors import UserError
from irg_jax.experiment import run_folder
from irg_jax.experiment.config import parse_config
from irg_jax.experiment.run_folder import RunRecord, claim


@pytest.fixture(scope="module", params=["shapes_stage1", "shapes_quickstart"])
def config(request):
    """The config of a single stage, and of an experiment of two stages."""
    return parse_config(load(request.param))


@pytest.fixture(scope="module")
def stage():
    return parse_config(load("shapes_stage1"))


def test_a_new_folder_is_claimed_and_recognised(tmp_path, config):
    workdir = tmp_path / "deep" / "run"
    claim(workdir, config)
    before = (workdir / "config.json").read_bytes()
    assert b"{workdir}/data" in before
    claim(workdir, config)
    assert (workdir / "config.json").read_bytes() == before
    assert parse_config(load(workdir / "config.json")) == config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 200}, "steps is 1400 there, 200 here"),
        ({"data.dir": "x"}, "data.dir is '{workdir}/data/shapes' there, 'x' here"),
        ({"optim.freeze": (("^vit", 0),)}, r"optim.freeze is \[\] there, \[\['\^vit', 0\]\] here"),
    ],
)
def test_another_value_is_refused_by_its_key(tmp_path, stage, changes, message):
    claim(tmp_path, stage)
    before = (tmp_path / "config.json").read_bytes()
    repeat = "choose another --workdir, or repeat that run with --config .*config.json"
    with pytest.raises(UserError, match=f"belongs to another run: {message}; {repeat}"):
        claim(tmp_path, replaced(stage, changes))
    assert (tmp_path / "config.json").read_bytes() == before


def _rename(section, old, new):
    section[new] = section.pop(old)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda saved: saved["optim"].pop("ema_decay"), "only this run's config has the key optim.ema_decay"),
        (lambda saved: saved.update(extra=1), "only the config.json there has the key extra"),
        (
            lambda saved: _rename(saved["optim"], "ema_decay", "decay"),
            "only the config.json there has the key optim.decay",
        ),
        (
            lambda saved: saved.update(lora={"rank": 4, "alpha": 4.0, "weights": "q"}),
            "only this run's config has the key lora",
        ),
    ],
)
def test_a_config_of_another_version_is_refused_by_a_key_that_only_one_has(tmp_path, stage, change, message):
    claim(tmp_path, stage)
    saved = json.loads((tmp_path / "config.json").read_text())
    change(saved)
    (tmp_path / "config.json").write_text(json.dumps(saved))
    with pytest.raises(UserError, match=f"another version of irg_jax: {message}; choose another --workdir"):
        claim(tmp_path, stage)
    assert json.loads((tmp_path / "config.json").read_text()) == saved


@pytest.mark.parametrize("where", ["checkpoints", "stage1/checkpoints"])
def test_checkpoints_without_a_config_are_refused(tmp_path, stage, where):
    (tmp_path / where).mkdir(parents=True)
    with pytest.raises(UserError, match="holds checkpoints but no config.json; choose another --workdir"):
        claim(tmp_path, stage)
    assert not (tmp_path / "config.json").exists()


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_damaged_config_is_named(tmp_path, stage, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError, match="config.json: not a saved config"):
        claim(tmp_path, stage)


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path, stage):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file: cannot be the run's folder"):
        claim(tmp_path / "file", stage)


def test_phases_add_up_over_restarts(tmp_path):
    for _ in range(2):
        record = RunRecord(tmp_path)
        with pytest.raises(RuntimeError), record.phase("train"):
            raise RuntimeError
    values = json.loads((tmp_path / "run.json").read_text())
    assert set(values) == {"started", "command", "commit", "seconds", "peak_memory_gib"}
    assert 0 < values["peak_memory_gib"] < 1024
    assert list(values["seconds"]) == ["train"] and values["seconds"]["train"] >= 0


def test_the_record_works_without_git(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    RunRecord(tmp_path)
    assert json.loads((tmp_path / "run.json").read_text())["commit"] == ""


def test_a_full_disk_is_one_clear_line(tmp_path, stage, monkeypatch):
    def raise_no_space(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run_folder, "write_text", raise_no_space)
    with pytest.raises(UserError, match=r"run.json: cannot be written \(No space left on device\)"):
        RunRecord(tmp_path)
    with pytest.raises(UserError, match=r"config.json: cannot be written \(No space left on device\)"):
        claim(tmp_path, stage)
