"""The mesh of a config, and the sharding of weights and batches on it; the tests run on eight CPU devices."""

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from irg_jax.core.config.schema import dataclass_from_mapping
from irg_jax.core.errors import ConfigError
from irg_jax.core.tree import weight_name
from irg_jax.models.transformer import abstract_model
from irg_jax.sharding import batches
from irg_jax.sharding.batches import LocalRows, batch_shardings, local_rows, shard_batch
from irg_jax.sharding.mesh import MeshConfig, make_mesh
from irg_jax.sharding.rules import ShardingRules, state_shardings
from tests import tiny


@pytest.mark.parametrize(
    ("axes", "shape"),
    [
        (dict(data=1, fsdp=-1, tensor=1), (1, 8, 1, 1)),
        (dict(data=-1, fsdp=2, tensor=2), (2, 2, 1, 2)),
        (dict(data=2, fsdp=2, context=2), (2, 2, 2, 1)),
    ],
)
def test_one_axis_takes_the_devices_that_are_left(axes, shape):
    mesh = make_mesh(MeshConfig(**axes))
    assert tuple(mesh.shape.values()) == shape
    assert mesh.axis_names == ("data", "fsdp", "context", "tensor")


def test_one_device_is_a_mesh():
    assert make_mesh(MeshConfig(data=1, fsdp=-1, tensor=1), jax.devices()[:1]).size == 1


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
def test_axes_that_do_not_multiply_to_the_devices_are_refused(axes):
    shape = f"data {axes['data']} x fsdp {axes['fsdp']} x context 1 x tensor 1"
    with pytest.raises(ConfigError, match=f"mesh: {shape} does not make 8 devices; set one axis to -1"):
        make_mesh(MeshConfig(**axes))


def partition_specs(axes):
    found = {}
    params = abstract_model(tiny.CONFIG)[1]
    shardings = state_shardings(params, make_mesh(MeshConfig(**axes)), ShardingRules())
    jax.tree_util.tree_map_with_path(lambda path, s: found.update({weight_name(path): s.spec}), shardings)
    return found


def test_logical_axes_are_sharded_over_mesh_axes():
    found = partition_specs(dict(data=2, fsdp=2, tensor=2))
    assert found["blocks.und.q.kernel"] == P(None, ("fsdp", "context"), "tensor")  # layers, embed, heads
    assert found["blocks.gen.down.kernel"] == P(None, "tensor", ("fsdp", "context"))
    assert found["embedding"] == P("tensor", ("fsdp", "context"))
    assert found["vit.blocks.up.kernel"] == P(None, "fsdp", "tensor")


def test_a_weight_that_the_mesh_does_not_divide_is_named():
    params = abstract_model(tiny.config(decoder=tiny.decoder(mlp=20)))[1]
    with pytest.raises(ConfigError, match="mesh.tensor: 8 does not divide the 20 of blocks.gen.down.kernel"):
        state_shardings(params, make_mesh(MeshConfig(data=1, fsdp=1, tensor=8)), ShardingRules())


def test_rows_are_sharded_over_data_and_fsdp():
    mesh = make_mesh(MeshConfig(data=2, fsdp=4, tensor=1))
    batch = {"images": np.arange(16).reshape(16, 1)}
    rows = shard_batch(batch, batch_shardings(mesh), local_rows(mesh, 16, 0))["images"]
    assert [int(shard.data[0, 0]) for shard in rows.addressable_shards] == list(range(0, 16, 2))


def test_tokens_of_a_row_are_sharded_over_context():
    mesh = make_mesh(MeshConfig(fsdp=2, context=4))
    batch = {"und": {"ids": np.arange(16).reshape(2, 8)}}
    ids = shard_batch(batch, batch_shardings(mesh), local_rows(mesh, 2, 0))["und"]["ids"]
    assert [shard.data.tolist() for shard in ids.addressable_shards][:2] == [[[0, 1]], [[2, 3]]]


@pytest.mark.parametrize(
    ("axes", "processes", "rows"),
    [
        (dict(fsdp=8), 2, [[0, 1, 2, 3, 4, 5, 6, 7], [8, 9, 10, 11, 12, 13, 14, 15]]),
        (dict(fsdp=2, context=4), 4, [[*range(8)], [*range(8)], [*range(8, 16)], [*range(8, 16)]]),
        (dict(context=8), 2, [[*range(16)]] * 2),
        (dict(data=2, tensor=4), 8, [[*range(8)]] * 4 + [[*range(8, 16)]] * 4),
    ],
)
def test_a_process_builds_the_rows_that_its_devices_hold(axes, processes, rows, monkeypatch):
    mesh = make_mesh(MeshConfig(**{"fsdp": 1} | axes))
    index = {device: i * processes // 8 for i, device in enumerate(mesh.devices.flat)}
    monkeypatch.setattr(batches, "_process_of", index.get)
    assert [list(local_rows(mesh, 16, process).rows) for process in range(processes)] == rows


def test_rows_that_are_not_those_of_the_process_are_an_error():
    mesh = make_mesh(MeshConfig(fsdp=8))
    with pytest.raises(ValueError, match=r"images: 16 rows, but this process holds the rows \(0, 1\) of the batch"):
        shard_batch({"images": np.zeros((16, 1))}, batch_shardings(mesh), LocalRows(16, (0, 1)))


def test_an_unknown_axis_is_refused_by_name():
    with pytest.raises(ConfigError, match="mesh.expert: unknown key; allowed here: data, fsdp, context, tensor"):
        dataclass_from_mapping(MeshConfig, {"expert": 8}, "mesh")
