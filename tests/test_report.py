"""The report command: what it writes and prints, and its errors in one line."""

import os
import subprocess

import pytest

from irg_jax import report
from irg_jax.core.config.command_line import take_arguments
from tests import commands
from tests.reporting.folders import write_sample, write_stage


def test_the_command_writes_the_report_and_prints_the_scores(tmp_path):
    write_stage(tmp_path)
    write_sample(tmp_path, 0, right=(False, True))
    done = commands.run("report", tmp_path)
    assert done.returncode == 0, done.stderr
    path, scores = done.stdout.splitlines()
    assert path == str(tmp_path / "report.html")
    assert scores == "turn 1 0.000  turn 2 1.000  (1 scored samples, mean of the kinds)"
    assert all((tmp_path / name).exists() for name in ("report.html", "report.png", "scores.json"))


def test_several_runs_are_compared(tmp_path, capfd):
    for name in ("one", "two"):
        write_stage(tmp_path / name)
    done = commands.run_here(capfd, "report", "--out", tmp_path / "both.html", tmp_path / "one", tmp_path / "two")
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'both.html'}\n"), done.stderr
    assert "2 runs compared" in (tmp_path / "both.html").read_text("utf-8")
    assert not (tmp_path / "one" / "report.html").exists()


def test_the_report_is_utf_8_in_any_locale(tmp_path):
    write_stage(tmp_path)
    write_sample(tmp_path, 0, prompt="ein grüner Kreis →")
    write_sample(tmp_path, 1, step=80)
    locale = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
    done = subprocess.run(
        commands.command_line("report", tmp_path, "--step", 40),
        cwd=commands.ROOT,
        env=os.environ | locale,
        capture_output=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    for name in ("report.html", "scores.json"):
        assert "ein grüner Kreis →" in (tmp_path / name).read_text("utf-8")


@pytest.mark.parametrize(
    ("argv", "folders", "rest"),
    [
        (["a", "b", "--step", "3"], ["a", "b"], ["--step", "3"]),
        (["--step", "3", "a"], ["a"], ["--step", "3"]),
        (["--step=3", "a", "--out", "x", "b"], ["a", "b"], ["--step=3", "--out", "x"]),
        (["--compile_cache", "x", "--unknown"], [], ["--compile_cache", "x", "--unknown"]),
    ],
)
def test_folders_may_stand_anywhere_between_flags(argv, folders, rest):
    line = ["report.py", *argv]
    assert take_arguments(line, report.FLAGS) == folders and line == ["report.py", *rest]


def test_errors_are_one_line(tmp_path, capfd):
    arguments = [[], [tmp_path / "none"], [tmp_path], [tmp_path, "--folder=x"], [tmp_path, "--out=x"]]
    messages = [
        *("give the folder of a run", "no such folder", "no metrics.csv and no samples", "unknown flag"),
        "--out: is for the comparison",
    ]
    for flags, message in zip(arguments, messages, strict=True):
        done = commands.run_here(capfd, "report", *flags)
        assert done.returncode == 2
        lines = done.stderr.splitlines()
        assert len(lines) == 1 and lines[0].startswith("error: ") and message in lines[0]
