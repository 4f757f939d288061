"""The budgets of the 7B configs fit the data that they are for."""

import dataclasses

import numpy as np
import pytest

from irg_jax.core.config.files import load
from irg_jax.data import images
from irg_jax.data.index import trajectories
from irg_jax.data.index.trajectories import ModeSamples
from irg_jax.data.modes import learning_mode
from irg_jax.data.packing.component import Component
from irg_jax.data.packing.plan import Plan
from irg_jax.data.processor import Processor
from irg_jax.training.config import parse_stage
from tests import tiny


@pytest.mark.parametrize("name", ["irg_7b_stage1", "irg_7b_stage2"])
def test_the_budgets_of_the_7b_configs_fit_the_texts_and_pictures_that_they_are_for(name):
    """Texts and pictures as in the paper's data: 100 to 900 tokens of thinking, edges of 512 to 1024 pixels."""
    stage = parse_stage(load(name))
    rng, count = np.random.default_rng(0), 4000
    rows = np.zeros(count, trajectories.DTYPE)
    rows["record"] = np.arange(count)
    rows["prompt"] = rng.integers(15, 90, count)
    for question in ("initial_question", "improving_question"):
        rows[question] = rows["prompt"] + 10
    for thinking in ("thinking1", "thinking2"):
        rows[thinking] = rng.integers(100, 900, count)
    for image in ("image1", "image2"):
        rows[image] = rng.integers(512, 1025, (count, 2))
    words = tiny.processor()
    transforms = [
        images.ImageTransform(sizes.max_size, sizes.min_size, stride)
        for sizes, stride in ((stage.data.vae_image, 16), (stage.data.vit_image, 14))
    ]
    processor, budgets = Processor(words.tokenizer, *transforms), dataclasses.astuple(stage.data.budgets)
    components = [
        Component(
            entry.mode, entry.weight, entry.mandatory,
            ModeSamples(rows, learning_mode(entry.mode), processor), budgets, stage.data.max_sample_tokens,
        )
        for entry in stage.data.mixture
    ]  # fmt: skip
    plan = Plan(
        components, budgets, dropout=stage.data.dropout, rows_per_pack=stage.data.rows_per_pack, seed=stage.data.seed
    )
    plan.check_shares()
    used = np.array([np.sum([sample.cost for sample in plan.row(i)], axis=0) for i in range(400)])
    assert used[:, :2].sum() / (len(used) * sum(budgets[:2])) > 0.9, used.mean(0) / budgets
    assert not any(len(component.oversize) for component in components)
