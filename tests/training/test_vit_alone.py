"""The ViT alone learns to read labelled pictures, and nothing else of a fresh model changes."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from irg_jax.checkpoints.weights import model_weights, open_stage
from irg_jax.core.config.files import load
from irg_jax.core.config.schema import replaced
from irg_jax.core.errors import ConfigError, UserError
from irg_jax.core.tree import weight_name
from irg_jax.data.conversation import Conversation, Image
from irg_jax.data.factory import make_processor
from irg_jax.data.images import encode_png
from irg_jax.data.packing import layout
from irg_jax.sharding.mesh import make_mesh
from irg_jax.training import vit_alone
from irg_jax.training.config import parse_stage
from irg_jax.training.program import build_program
from irg_jax.training.vit_alone import ViTAloneConfig
from tests import tiny
from tests.commands import SMALL
from tests.training.labelled_squares import squares, write, write_both


@pytest.fixture(scope="module")
def stage():
    vit = {"model.vit.heads": 2, "model.vit.hidden": 32, "model.vit.mlp": 64}
    sizes = {"optim.warmup_steps": 0} | SMALL | vit
    others = {"data.tokenizer": str(tiny.BAGEL_TINY / "bagel"), "seed": 3, "execution.dtype": "bfloat16"}
    return replaced(parse_stage(load("template")), sizes | others)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("squares")
    return ViTAloneConfig(**write_both(folder, 2000, 203), steps=120, batch_size=64, lr=4e-3, warmup_steps=10, seed=0)


@pytest.fixture(scope="module")
def trained(config, stage, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "vit"
    assert not vit_alone.is_trained(folder)
    return folder, vit_alone.train(config, stage, folder)


def test_it_learns_both_labels(trained):
    folder, metrics = trained
    assert metrics["all_right"] > 0.95
    assert min(metrics["right"]) >= metrics["all_right"], "a picture is right where each of its labels is"
    assert metrics["pictures"] == 203 and metrics["steps"] == 120
    assert json.loads((folder / "metrics.json").read_text()) == metrics


def test_the_other_weights_are_those_that_the_stage_starts_from(trained, stage):
    folder, _ = trained
    fresh = build_program(stage, make_mesh(stage.mesh, jax.devices()[:1]), "cpu").spec.init(stage.seed).params
    found = by_name(model_weights(open_stage(folder), dtype="float32"))
    assert found.keys() == by_name(fresh).keys()
    for name, x in by_name(fresh).items():
        assert np.array_equal(found[name], x) != name.startswith("vit."), name


def test_it_goes_on_from_other_weights_with_more_pictures(trained, config, stage, tmp_path):
    start = trained[0] / "weights"
    more = write(tmp_path / "more.npz", **squares(50, seed=2))
    changes = dict(init_from=str(start), pictures=(*config.pictures, more), steps=20, lr=1e-4)
    metrics = vit_alone.train(dataclasses.replace(config, **changes), stage, tmp_path / "vit", assets_of=start)
    assert metrics["all_right"] > 0.9, "20 steps from fresh weights reach no half of that"
    before, after = (
        by_name(model_weights(open_stage(folder), dtype="float32")) for folder in (start, tmp_path / "vit")
    )
    for name, x in before.items():
        assert np.array_equal(after[name], x) != name.startswith("vit."), name


def by_name(weights):
    return {weight_name(path): np.asarray(x) for path, x in jax.tree_util.tree_leaves_with_path(weights)}


def test_a_complete_folder_is_seen_as_that_and_one_that_was_cut_off_is_not(trained, tmp_path):
    assert vit_alone.is_trained(trained[0])
    (tmp_path / "weights" / "checkpoints").mkdir(parents=True)
    (tmp_path / "metrics.json").write_text("{}")
    assert not vit_alone.is_trained(tmp_path)


def test_pictures_become_the_patches_that_they_are_in_packed_rows(config, stage):
    read = vit_alone._read(config.held_out, stage)
    processor = make_processor(stage.data, stage.model.geometry)
    content = encode_png(squares(203, seed=1)["pictures"][7])
    sample = Conversation("one", (Image(content, need_loss=False, need_vae=False, need_vit=True),))
    builder = layout.RowBuilder(processor, stage.model.geometry)
    builder.add(sample, layout.segments(sample, processor), 0, mode=0)
    row = builder.row()
    np.testing.assert_array_equal(read.patches[7], row.patches[0])
    assert read.columns.keys() == row.vit.keys()
    for name, column in row.vit.items():
        np.testing.assert_array_equal(read.columns[name], column, err_msg=name)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": np.array([3, 5], np.int32)}, r"classes are \[3, 5\], and \[3, 4\] in .*train.npz"),
        (squares(3, seed=0, size=48), "pictures are of 48 x 48 pixels, which data.vit_image makes 32 x 32"),
    ],
)
def test_pictures_that_do_not_fit_are_refused(config, stage, tmp_path, changes, message):
    other = write(tmp_path / "other.npz", **squares(3, seed=0) | changes)
    with pytest.raises(UserError, match=f"other.npz: {message}"):
        vit_alone.train(dataclasses.replace(config, held_out=other), stage, tmp_path / "vit")
    with pytest.raises(UserError, match=f"other.npz: {message}"):
        files = (*config.pictures, other)
        vit_alone.train(dataclasses.replace(config, pictures=files), stage, tmp_path / "vit")
    assert not (tmp_path / "vit").exists()


def test_a_loss_that_is_not_finite_is_an_error(config, stage):
    pictures = vit_alone._read(config.held_out, stage)
    params = vit_alone._Params(nnx.State({}), jnp.ones((1, 7)), jnp.zeros(7))

    def logits(params, patches):
        return jnp.split((jnp.ones((len(patches), 1)) @ params.kernel) ** 20, [3], axis=1)

    with pytest.raises(UserError, match="config.vit.lr: the loss is .* at step 3; lower the learning rate"):
        vit_alone._fit(dataclasses.replace(config, steps=3, warmup_steps=1, lr=1e30), logits, params, pictures)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lr": 0.0}, "lr: 0.0 must be above 0"),
        ({"warmup_steps": 120}, "warmup_steps: 120 must be at least 0 and less than the 120 steps"),
        ({"pictures": ()}, "pictures: is empty; give an .npz file"),
        ({"pictures": ("a.npz", "")}, "pictures: is empty; give an .npz file"),
    ],
)
def test_values_out_of_range_are_refused(config, changes, message):
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(config, **changes)
