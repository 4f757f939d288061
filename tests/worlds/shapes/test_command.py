"""The command that builds a shapes data set, and the prompts of its training records."""

import pytest

from irg_jax.worlds.shapes.world import make_trajectory
from tests import commands


def test_every_prompt_of_the_training_records_is_written_once(tmp_path, capfd):
    folder, prompts = tmp_path / "data", tmp_path / "prompts.txt"
    flags = [f"--out={folder}", "--train=40", "--held_out=6", "--manners=geneval,oneig", f"--prompts={prompts}"]
    done = commands.run_here(capfd, "worlds.shapes", *flags)
    assert done.returncode == 0, done.stderr
    lines = prompts.read_text().splitlines()
    found = [make_trajectory(0, "train", i, manners=("geneval", "oneig")).prompt for i in range(40)]
    assert lines == list(dict.fromkeys(found)) and len(lines) < 40
    assert done.stdout.splitlines() == [f"{folder}: train 40, held_out 6", f"{prompts}: {len(lines)} prompts"]
    assert commands.run_here(capfd, "worlds.shapes", *flags).returncode == 0, "nothing is done again"


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--manners=geneval,wisdom", "error: --manners: wisdom: use some of geneval, wise"),
        ("--size=40", "error: --size: 40 is not a multiple of 16"),
        ("--train=0", "--train"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, capfd, flag, message):
    done = commands.run_here(capfd, "worlds.shapes", f"--out={tmp_path / 'data'}", flag)
    assert done.returncode != 0 and message in done.stderr and done.stderr.count("\n") == 1, done.stderr
