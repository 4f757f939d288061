"""What is checked before anything is allocated, for this machine and for others."""

import pytest

from irg_jax.core.config.files import load
from irg_jax.core.config.schema import replaced
from irg_jax.core.errors import ConfigError
from irg_jax.experiment import stages
from irg_jax.experiment.config import parse_config


@pytest.fixture(scope="module")
def config():
    return parse_config(load("irg_7b_stage1"))


def test_a_mesh_of_another_machine_is_laid_out_without_it(config):
    longer = replaced(config, {"mesh.context": 8})
    assert stages.check(longer, devices=64) == {"train": dict(data=1, fsdp=8, context=8, tensor=1)}


@pytest.mark.parametrize(
    ("changes", "devices", "slices", "message"),
    [
        ({}, 64, 1, "config.data.batch_size: 8 rows do not divide over 64 devices"),
        ({"mesh.context": 3}, 64, 1, "config.mesh: .* does not make 64 devices"),
        ({"mesh.context": 16}, 128, 2, "config.mesh.data: 1 must be a multiple of the 2 slices"),
        ({"mesh.tensor": 64}, 64, 1, "config.mesh.tensor: 64 does not divide the 4304 of vit"),
    ],
)
def test_what_cannot_be_laid_out_is_refused_by_its_key(config, changes, devices, slices, message):
    with pytest.raises(ConfigError, match=message):
        stages.check(replaced(config, changes), devices=devices, slices=slices)


def test_all_stages_of_an_experiment_are_checked():
    assert list(stages.check(parse_config(load("shapes_quickstart")), devices=1)) == ["stage1", "stage2"]
