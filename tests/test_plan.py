"""Plans, by formula and compiled, of a small config."""

import dataclasses
import json
import pathlib

import jax
import pytest

from irg_jax import config as configs
from irg_jax.errors import UserError
from irg_jax.planning import compiled, hardware, stage
from irg_jax.training import sharding
from tests import commands
from tests.test_bench import SMALL

ROOT = pathlib.Path(__file__).resolve().parents[1]


@pytest.fixture
def config(tmp_path):
    (tmp_path / "small.py").write_text(SMALL)
    found = configs.load(tmp_path / "small.py")
    with found.unlocked():
        found.data.batch_size = 8
    return found


def test_a_gpu_node_is_planned_by_formula(tmp_path):
    (tmp_path / "small.py").write_text(SMALL)
    out = tmp_path / "plan.json"
    flags = [f"--config={tmp_path / 'small.py'}", "--topology=h100:8", "--config.data.batch_size=8", f"--json={out}"]
    done = commands.run("plan", *flags)
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    assert found["fits"] and found["chips"] == 8 and found["mesh"] == "data 1 x fsdp 8 x context 1 x tensor 1"
    # float32 weights in eight parts, two moments and an average; the norms of the heads are whole everywhere.
    parts = found["bytes a chip"]
    assert parts["params"] == pytest.approx(4 * found["weights"] / 8, rel=0.1)
    assert parts["moments"] == pytest.approx(2 * parts["params"], rel=0.01) and parts["EMA"] == parts["params"]
    assert found["chip-hours"] == pytest.approx(8 * found["steps"] * found["step seconds"] / 3600)
    assert "fits: " in done.stderr and "chip-hours" in done.stderr


def test_a_pod_is_planned_by_formula_where_that_is_asked(config):
    plan = stage.plan(config, hardware.parse("v5e:2x4"), by_formula=True)
    assert plan["fits"] and plan["compile seconds"] == 0 and plan["attention"] == "tpu"
    assert plan["bytes a chip"]["temporaries"] == plan["temporaries by formula"]


def test_what_makes_it_fit_is_found(config, monkeypatch):
    with config.unlocked():
        config.model.remat = "full"
    found = stage.plan(config, hardware.parse("h100:8"))
    parts = found["bytes a chip"]
    # Room for everything but half of the moments.
    room = (sum(parts.values()) - parts["moments"] / 4) / 0.9
    small = dataclasses.replace(hardware.CHIPS["h100"], memory=room)
    monkeypatch.setitem(hardware.CHIPS, "h100", small)
    assert not stage.plan(config, hardware.parse("h100:8"))["fits"]
    remedy, better = next(stage.remedies(config, hardware.parse("h100:8")))
    assert remedy == {"model.remat": "full", "optim.moments_dtype": "bfloat16"} and better["fits"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data.batch_size": 4}, "4 rows do not divide over 8 devices .* devices beyond the rows go to mesh.context"),
        (
            {"mesh.context": 8, "data.budgets.und": 1104, "data.budgets.gen": 12},
            "data.budgets.gen: 12 tokens do not divide over mesh.context 8",
        ),
        ({"mesh.tensor": 3}, "mesh: .* does not make 8 devices"),
    ],
)
def test_a_mesh_that_cannot_be_is_refused(config, changes, message):
    with config.unlocked():
        config.update_from_flattened_dict(changes)
    with pytest.raises(UserError, match=message):
        stage.plan(config, hardware.parse("h100:8"))


@pytest.mark.parametrize(
    ("topology", "slices", "axes"),
    [
        ("v5p:4x4x4", 1, dict(fsdp=8, context=8)),
        ("v6e:16x16", 1, dict(fsdp=8, context=32)),
        ("v5e:16x16", 1, dict(fsdp=-1, tensor=4)),
        ("v5p:4x4x4", 2, dict(data=2, fsdp=4, context=16)),
    ],
)
def test_an_axis_may_take_a_part_of_a_direction_of_a_pod(topology, slices, axes):
    pytest.importorskip("libtpu")
    devices = compiled.describe(hardware.parse(topology, slices))
    mesh = sharding.make_mesh(axes, devices)
    assert (
        mesh.size == len(devices)
        and {name: mesh.shape[name] for name in axes if axes[name] > 0}.items() <= axes.items()
    )
    # Only along data does one meet another slice.
    assert len({getattr(device, "slice_index", 0) for device in mesh.devices[0].flat}) == 1


@pytest.fixture
def compile_quickly():
    """Half the time of a program that nobody will run."""
    name = "jax_exec_time_optimization_effort"
    before = getattr(jax.config, name)
    jax.config.update(name, -1.0)
    yield
    jax.config.update(name, before)


def narrow(config):
    """The 7B configs with fewer and narrower layers and smaller pictures: what takes the compiler minutes there."""
    config.model.decoder.update(hidden=512, layers=2, heads=8, mlp=512, vocab=2048)
    config.model.vit.update(hidden=256, layers=1, heads=4, mlp=256)
    config.model.autoencoder.update(width=32, multipliers=(1, 1, 1, 1), blocks=1)
    config.data.vae_image.update(max_size=128, min_size=128)
    config.data.vit_image.update(max_size=126, min_size=126)
    config.data.budgets.update(und=2048, gen=256, vit=256, images=4)


def whole(config):
    """As it is."""


@pytest.mark.usefixtures("compile_quickly")
@pytest.mark.parametrize(
    ("name", "change", "topology", "slices", "axes"),
    [
        ("shapes_stage1", whole, "v5e:2x2", 1, {}),
        ("shapes_stage2", whole, "v5e:2x2", 1, {}),
        ("irg_7b_stage1", narrow, "v5p:2x2x2", 1, {}),
        ("irg_7b_stage2", narrow, "v5p:2x2x1", 2, dict(data=2, fsdp=2, context=2)),
    ],
)
def test_the_shipped_configs_compile_for_tpus(name, change, topology, slices, axes):
    pytest.importorskip("libtpu")
    found = configs.load(ROOT / "configs" / f"{name}.py")
    with found.unlocked():
        change(found)
        found.mesh.update(axes)
    plan = stage.plan(configs.resolve(found, ROOT), hardware.parse(topology, slices))
    assert plan["fits"] and plan["compile seconds"] > 0 and plan["bytes a chip"]["temporaries"] > 0
    assert plan["attention"] == ("tpu" if change is narrow else "plain")
