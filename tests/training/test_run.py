"""A run's folder belongs to one config, and its log adds up over restarts."""

import json
import signal

import pytest
from ml_collections import ConfigDict

from irg_jax.errors import UserError
from irg_jax.training import run
from irg_jax.training.interrupt import Interrupt
from irg_jax.training.run import RunLog, claim


def config(**changes):
    return ConfigDict({"steps": 10, "data": {"dir": "{workdir}/data", "mixture": (("full", 1.0),)}} | changes)


def test_a_new_folder_is_claimed_and_known_again(tmp_path):
    workdir = tmp_path / "deep" / "run"
    claim(workdir, config())
    before = (workdir / "config.json").read_bytes()
    claim(workdir, config())
    assert (workdir / "config.json").read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(steps=20), "steps is 10 there, 20 here"),
        (dict(data={"dir": "x", "mixture": (("full", 1.0),)}), "data.dir is '{workdir}/data' there, 'x' here"),
        (dict(seed=1), "seed is missing there, 1 here"),
    ],
)
def test_the_folder_of_another_run_is_refused_by_the_key_that_differs(tmp_path, changes, message):
    claim(tmp_path, config())
    before = (tmp_path / "config.json").read_bytes()
    with pytest.raises(UserError, match=f"belongs to another run: .*{message}.*choose another --workdir"):
        claim(tmp_path, config(**changes))
    assert (tmp_path / "config.json").read_bytes() == before


@pytest.mark.parametrize("where", ["checkpoints", "stage1/checkpoints"])
def test_checkpoints_without_a_config_are_not_taken_over(tmp_path, where):
    (tmp_path / where).mkdir(parents=True)
    with pytest.raises(UserError, match="holds checkpoints but no config.json; choose another --workdir"):
        claim(tmp_path, config())
    assert not (tmp_path / "config.json").exists()


def test_a_damaged_config_and_a_file_in_the_way_are_named(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match="config.json: not a saved config"):
        claim(tmp_path, config())
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file: cannot be the run's folder"):
        claim(tmp_path / "file", config())


def test_phases_add_up_over_restarts(tmp_path):
    for _ in range(2):
        log = RunLog(tmp_path)
        with pytest.raises(RuntimeError), log.phase("train"):
            raise RuntimeError
    values = json.loads((tmp_path / "run.json").read_text())
    assert set(values) == {"started", "command", "commit", "seconds", "peak_memory_gib"}
    assert 0 < values["peak_memory_gib"] < 1024
    assert list(values["seconds"]) == ["train"] and values["seconds"]["train"] >= 0


def test_the_log_does_without_git(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    RunLog(tmp_path)
    assert json.loads((tmp_path / "run.json").read_text())["commit"] == ""


def test_a_log_that_cannot_be_written_is_one_clear_line(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run.Path, "write_text", full)
    with pytest.raises(UserError, match=r"run.json: cannot be written \(No space left on device\)"):
        RunLog(tmp_path)


@pytest.mark.usefixtures("python_handles_ctrl_c")
def test_the_first_interrupt_asks_and_the_second_acts(capsys):
    before = signal.getsignal(signal.SIGINT)
    with Interrupt() as interrupt:
        assert not interrupt.asked
        signal.raise_signal(signal.SIGINT)
        assert interrupt.asked
        assert "once more stops at once" in capsys.readouterr().out
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == before


def test_a_termination_is_heeded_too():
    with Interrupt() as interrupt:
        signal.raise_signal(signal.SIGTERM)
        assert interrupt.asked
