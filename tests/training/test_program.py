"""The program of a stage: what the devices cannot run is refused by its key before anything is compiled."""

import pytest
from jax.sharding import AbstractMesh, AxisType

from irg_jax.core.config.files import load
from irg_jax.core.config.schema import replaced
from irg_jax.core.errors import ConfigError
from irg_jax.sharding.mesh import AXES, MeshConfig, make_mesh
from irg_jax.training.config import parse_stage
from irg_jax.training.program import build_program, check_mesh


@pytest.fixture(scope="module")
def config():
    """A shipped config with rows, microbatches and budgets that every mesh below would divide."""
    stage = parse_stage(load("shapes_stage1"))
    changes = {"data.batch_size": 8, "data.budgets.und": 320, "data.budgets.gen": 192, "data.budgets.vit": 64}
    return replaced(stage, changes)


def mesh(*sizes):
    return AbstractMesh(sizes, AXES, axis_types=(AxisType.Auto,) * len(AXES))


def test_a_batch_that_the_mesh_divides_is_accepted(config):
    check_mesh(replaced(config, {"optim.accumulate": 2}), mesh(2, 2, 4, 1))


@pytest.mark.parametrize(
    ("changes", "sizes", "message"),
    [
        (
            {"data.batch_size": 4},
            (2, 4, 1, 1),
            r"config.data.batch_size: 4 rows do not divide over 8 devices \(mesh.data x mesh.fsdp\)"
            "; put devices beyond the rows on mesh.context",
        ),
        ({"optim.accumulate": 2}, (1, 8, 1, 1), "config.data.batch_size: 8 rows .* and 2 microbatches"),
        (
            {"data.budgets.gen": 12},
            (1, 1, 8, 1),
            "config.data.budgets.gen: 12 tokens do not divide over mesh.context 8",
        ),
        (
            {"model.decoder.mlp": 20},
            (1, 1, 1, 8),
            "config.mesh.tensor: 8 does not divide the 20 of blocks.gen.down.kernel",
        ),
    ],
)
def test_a_batch_or_model_that_the_mesh_does_not_divide_is_refused_by_its_key(config, changes, sizes, message):
    with pytest.raises(ConfigError, match=f"^{message}"):
        check_mesh(replaced(config, changes), mesh(*sizes))


@pytest.mark.parametrize(("attention", "platform"), [("gpu", "cpu"), ("tpu", "gpu"), ("gpu", "tpu")])
def test_an_attention_backend_of_another_platform_is_refused_by_its_key(config, attention, platform):
    with pytest.raises(ConfigError, match=f"^config.execution.attention: '{attention}' does not run on {platform}"):
        build_program(replaced(config, {"execution.attention": attention}), make_mesh(MeshConfig()), platform)


def test_a_freeze_entry_without_a_match_is_refused_by_its_key(config):
    with pytest.raises(ConfigError, match="^config.optim.freeze: 'decoder' matches no weight"):
        build_program(replaced(config, {"optim.freeze": (("decoder", 0),)}), make_mesh(MeshConfig()), "cpu")
