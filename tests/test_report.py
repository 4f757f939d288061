"""The report command: what it writes and prints, and its errors in one line."""

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


def test_errors_are_one_line(tmp_path):
    arguments = [[], [tmp_path / "none"], [tmp_path], [tmp_path, "--folder=x"]]
    messages = ["give the folder of a run", "no such folder", "no metrics.csv and no samples", "unknown flag"]
    for flags, message in zip(arguments, messages, strict=True):
        done = commands.run("report", *flags)
        assert done.returncode == 2
        lines = done.stderr.splitlines()
        assert len(lines) == 1 and lines[0].startswith("error: ") and message in lines[0]
