"""launch/shapes_base.sh at its smallest: VAE, ViT, both mixtures, own pictures, the last stage; then again."""

import os
import subprocess

import pytest

from irg_jax.checkpoints.weights import open_stage
from irg_jax.data.sources import editing, llava
from tests.launch.world import LAUNCH

pytestmark = pytest.mark.slow  # draws the labelled pictures, and compiles everything once

SMALLER = """
from irg_jax.configs import {config}


def get_config():
    c = {config}.get_config()
    for alone in {alone}:
        c[alone].update(steps=1, batch_size=2, warmup_steps=0)
    for stage in c.stages.values():
        stage.steps, stage.optim.warmup_steps, stage.data.batch_size, stage.data.rows_per_pack = 1, 0, 1, 1
        for source in stage.data.sources.values():
            if source.world is not None:
                source.world.update(train=200, held_out=4)
    c.evaluate.update(prompts=2, batch_size=2, perception=2)
    return c
"""


@pytest.fixture
def environment(tmp_path, installed):
    configs = {}
    for key, config, alone in (("CONFIG", "shapes_base", ("vae", "vit")), ("GOES_ON", "shapes_base_own", ("vit",))):
        configs[key] = str(tmp_path / f"small_{config}.py")
        (tmp_path / f"small_{config}.py").write_text(SMALLER.format(config=config, alone=alone))
    return installed() | configs | {"WORKDIR": str(tmp_path / "run"), "PICTURES": "48"}


def run(environment):
    script = LAUNCH / "shapes_base.sh"
    return subprocess.run([script], env=os.environ | environment, capture_output=True, text=True, timeout=1800)


def test_one_command_trains_the_base_and_has_it_look_at_its_own_pictures(environment, tmp_path):
    done = run(environment)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "run"
    for own in ("own", "guided"):
        assert len(llava.open_source(folder / own / "samples/understanding")) == 48
        assert len(editing.open_source(folder / own / "samples/editing")) == 48
    assert open_stage(folder / "goes_on").folder == folder / "goes_on" / "base3"
    assert run(environment).stderr.rstrip().endswith(f"finished; nothing is left to do in {folder / 'goes_on'}")
