"""launch/shapes_irg.sh at its smallest: own weak images, the oracle over HTTP, two stages, a report; then again."""

import json
import os
import subprocess

import pytest

from irg_jax.data.sources.trajectories import open_source
from tests.launch.world import LAUNCH

pytestmark = pytest.mark.slow  # samples from the shipped base, and compiles both stages

FLAGS = [
    "--config=shapes_irg:1,1",
    *(f"--config.stages.{stage}.data.batch_size=1" for stage in ("stage1", "stage2")),
    *(f"--config.stages.{stage}.optim.warmup_steps=0" for stage in ("stage1", "stage2")),
    *(f"--config.evaluate.{name}=2" for name in ("prompts", "batch_size", "perception", "controls")),
]


@pytest.fixture
def environment(tmp_path, installed):
    return installed("test") | {"WORKDIR": str(tmp_path / "run"), "RECORDS": "16"}


def run(environment):
    line = [LAUNCH / "shapes_irg.sh", *FLAGS]
    return subprocess.run(line, env=os.environ | environment, capture_output=True, text=True, timeout=900)


def test_one_command_makes_the_data_from_own_images_and_trains_on_them(environment, tmp_path):
    done = run(environment)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "run"
    own, world = open_source(folder / "data/own", "train"), open_source(folder / "data/shapes", "train")
    prompts = (folder / "prompts.txt").read_text().splitlines()
    assert len(own) == len(prompts) <= len(world) == 16
    planned = {world[i].prompt: world[i].thinking1 for i in reversed(range(16))}
    painted = {world[i].image1 for i in range(16)}
    for record in (own[i] for i in range(len(own))):
        assert record.thinking1 == planned[record.prompt]
        assert record.image1 not in painted, "it is the base's own"
        assert record.thinking2.startswith("<think>") and record.image2
    scores = json.loads((folder / "scores.json").read_text())
    assert scores["samples"] == 2 and len(scores["controls"]) == 7
    assert (folder / "report.html").exists()
    assert run(environment).stderr.rstrip().endswith(f"finished; nothing is left to do in {folder}")
