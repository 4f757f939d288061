"""A mesh from the config, and where every weight lies on it; the tests run on eight devices of the CPU."""

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from irg_jax.errors import UserError
from irg_jax.training import sharding
from irg_jax.training.optimizer import weight_name
from irg_jax.training.sharding import Rules
from irg_jax.training.state import graph_of
from tests import tiny


@pytest.mark.parametrize(
    ("axes", "shape"),
    [
        (dict(data=1, fsdp=-1, tensor=1), (1, 8, 1, 1)),
        (dict(data=-1, fsdp=2, tensor=2), (2, 2, 1, 2)),
        (dict(data=2, fsdp=2, context=2), (2, 2, 2, 1)),
    ],
)
def test_one_axis_takes_what_is_left(axes, shape):
    mesh = sharding.make_mesh(axes)
    assert tuple(mesh.shape.values()) == shape
    assert mesh.axis_names == ("data", "fsdp", "context", "tensor")


def test_one_device_is_a_mesh_too():
    assert sharding.make_mesh(dict(data=1, fsdp=-1, tensor=1), jax.devices()[:1]).size == 1


@pytest.mark.parametrize(
    "axes",
    [
        dict(data=3, fsdp=-1, tensor=1),
        dict(data=2, fsdp=2, tensor=1),
        dict(data=-1, fsdp=-1, tensor=1),
        dict(data=0, fsdp=-1, tensor=1),
        dict(data=-2, fsdp=-4, tensor=1),
    ],
)
def test_axes_that_do_not_make_the_devices_are_refused(axes):
    shape = f"data {axes['data']} x fsdp {axes['fsdp']} x context 1 x tensor 1"
    with pytest.raises(UserError, match=f"mesh: {shape} does not make 8 devices; set one axis to -1"):
        sharding.make_mesh(axes)


def specs(axes):
    found = {}
    params = graph_of(tiny.CONFIG)[1]
    shardings = sharding.state_shardings(params, sharding.make_mesh(axes), Rules())
    jax.tree_util.tree_map_with_path(lambda path, s: found.update({weight_name(path): s.spec}), shardings)
    return found


def test_logical_names_become_mesh_axes():
    found = specs(dict(data=2, fsdp=2, tensor=2))
    assert found["blocks.und.q.kernel"] == P(None, ("fsdp", "context"), "tensor")  # layers, embed, heads
    assert found["blocks.gen.down.kernel"] == P(None, "tensor", ("fsdp", "context"))
    assert found["embedding"] == P("tensor", ("fsdp", "context"))
    assert found["vit.blocks.up.kernel"] == P(None, "fsdp", "tensor")


def test_a_weight_that_does_not_divide_is_named():
    params = graph_of(tiny.config(decoder=tiny.decoder(mlp=20)))[1]
    with pytest.raises(UserError, match="mesh.tensor: 8 does not divide the 20 of blocks.gen.down.kernel"):
        sharding.state_shardings(params, sharding.make_mesh(dict(data=1, fsdp=1, tensor=8)), Rules())


def test_rows_are_split_over_data_and_fsdp():
    mesh = sharding.make_mesh(dict(data=2, fsdp=4, tensor=1))
    batch = {"images": np.arange(16).reshape(16, 1)}
    rows = sharding.to_devices(batch, sharding.batch_shardings(mesh))["images"]
    assert [int(shard.data[0, 0]) for shard in rows.addressable_shards] == list(range(0, 16, 2))


def test_tokens_of_a_row_are_split_over_context():
    mesh = sharding.make_mesh(dict(fsdp=2, context=4))
    batch = {"und": {"ids": np.arange(16).reshape(2, 8)}}
    ids = sharding.to_devices(batch, sharding.batch_shardings(mesh))["und"]["ids"]
    assert [shard.data.tolist() for shard in ids.addressable_shards][:2] == [[[0, 1]], [[2, 3]]]


def test_an_unknown_axis_is_named():
    with pytest.raises(UserError, match="mesh.expert: no such axis; a mesh has data, fsdp, context, tensor"):
        sharding.make_mesh(dict(expert=8))
