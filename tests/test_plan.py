"""Plans of a small config, by formula and compiled."""

import dataclasses
import json
import pathlib

import pytest

from irg_jax.core.chips import CHIPS
from irg_jax.core.config.files import load
from irg_jax.core.config.schema import replaced, resolve
from irg_jax.core.errors import ConfigError
from irg_jax.planning import compiled, stage
from irg_jax.planning import topology as hardware
from irg_jax.sharding.mesh import MeshConfig, make_mesh
from irg_jax.training.config import parse_stage
from tests import commands
from tests.test_bench import SMALL

ROOT = pathlib.Path(__file__).resolve().parents[1]


@pytest.fixture
def config(tmp_path):
    (tmp_path / "small.py").write_text(SMALL)
    return replaced(parse_stage(load(tmp_path / "small.py")), {"data.batch_size": 8})


def test_a_gpu_node_is_planned_by_formula(tmp_path, capfd):
    (tmp_path / "small.py").write_text(SMALL)
    out = tmp_path / "plan.json"
    flags = [f"--config={tmp_path / 'small.py'}", "--topology=h100:8", "--config.data.batch_size=8", f"--json={out}"]
    done = commands.run_here(capfd, "plan", *flags)
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    assert found["fits"] and found["chips"] == 8 and found["mesh"] == "data 1 x fsdp 8 x context 1 x tensor 1"
    # float32 weights in eight shards, two moments and the EMA; the norms of the heads are replicated.
    parts = found["bytes per chip"]
    assert parts["params"] == pytest.approx(4 * found["weights"] / 8, rel=0.1)
    assert parts["moments"] == pytest.approx(2 * parts["params"], rel=0.01) and parts["EMA"] == parts["params"]
    assert found["chip-hours"] == pytest.approx(8 * found["steps"] * found["step seconds"] / 3600)
    assert "fits: " in done.stderr and "GB per chip" in done.stderr and "chip-hours" in done.stderr
    assert (
        f"per step: {found['tokens per step']:.0f} tokens, {found['model FLOPs per step']:.3g} model FLOPs"
        in done.stderr
    )


def test_a_pod_is_planned_by_formula_on_request(config):
    plan = stage.plan(config, hardware.parse("v5e:2x4"), by_formula=True)
    assert plan["fits"] and plan["compile seconds"] == 0 and plan["attention"] == "tpu"
    assert plan["bytes per chip"]["temporaries"] == plan["temporaries by formula"]


def test_a_remedy_that_makes_the_step_fit_is_found(config, monkeypatch):
    config = replaced(config, {"execution.remat": "full"})
    found = stage.plan(config, hardware.parse("h100:8"))
    parts = found["bytes per chip"]
    # Room for everything except half of the moments.
    room = (sum(parts.values()) - parts["moments"] / 4) / 0.9
    small = dataclasses.replace(CHIPS["h100"], memory=room)
    monkeypatch.setitem(CHIPS, "h100", small)
    assert not stage.plan(config, hardware.parse("h100:8"))["fits"]
    remedy, better = next(stage.remedies(config, hardware.parse("h100:8")))
    assert remedy == {"execution.remat": "full", "optim.moments_dtype": "bfloat16"} and better["fits"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"data.batch_size": 4},
            r"config\.data\.batch_size: 4 rows do not divide over 8 devices .* put devices .* on mesh.context",
        ),
        (
            {"mesh.context": 8, "data.budgets.und": 1104, "data.budgets.gen": 12},
            "config.data.budgets.gen: 12 tokens do not divide over mesh.context 8",
        ),
        ({"mesh.tensor": 3}, "config.mesh: .* does not make 8 devices"),
    ],
)
def test_a_mesh_that_the_topology_does_not_have_is_refused_by_its_key(config, changes, message):
    with pytest.raises(ConfigError, match=f"^{message}"):
        stage.plan(replaced(config, changes), hardware.parse("h100:8"))


@pytest.mark.parametrize(
    ("topology", "slices", "axes"),
    [
        ("v5p:4x4x4", 1, dict(fsdp=8, context=8)),
        ("v6e:16x16", 1, dict(fsdp=8, context=32)),
        ("v5e:16x16", 1, dict(fsdp=-1, tensor=4)),
        ("v5p:4x4x4", 2, dict(data=2, fsdp=4, context=16)),
    ],
)
def test_a_mesh_axis_may_take_part_of_a_direction_of_a_pod(topology, slices, axes):
    pytest.importorskip("libtpu")
    devices = compiled.describe(hardware.parse(topology, slices))
    mesh = make_mesh(MeshConfig(**{"fsdp": 1} | axes), devices)
    assert mesh.size == len(devices)
    assert all(mesh.shape[name] == size for name, size in axes.items() if size > 0)
    # Only the axis data spans several slices.
    assert len({getattr(device, "slice_index", 0) for device in mesh.devices[0].flat}) == 1


def narrow(config):
    """Gives a 7B config fewer and narrower layers and smaller images, which the compiler needs minutes for."""
    config.model.decoder.update(hidden=512, layers=2, heads=8, mlp=512, vocab=2048)
    config.model.vit.update(hidden=256, layers=1, heads=4, mlp=256)
    config.model.vae.update(width=32, multipliers=(1, 1, 1, 1), blocks=1)
    config.data.vae_image.update(max_size=128, min_size=128)
    config.data.vit_image.update(max_size=126, min_size=126)
    config.data.budgets.update(und=2048, gen=256, vit=256, images=4)


def unchanged(config):
    """Leaves a config as it is."""


@pytest.mark.usefixtures("compile_quickly")
@pytest.mark.parametrize(
    ("name", "change", "topology", "slices", "axes"),
    [
        ("shapes_stage1", unchanged, "v5e:2x2", 1, {}),
        pytest.param("shapes_stage2", unchanged, "v5e:2x2", 1, {}, marks=pytest.mark.slow),
        pytest.param("irg_7b_stage1", narrow, "v5p:2x2x2", 1, {}, marks=pytest.mark.slow),
        pytest.param("irg_7b_stage2", narrow, "v5p:2x2x1", 2, dict(data=2, fsdp=2, context=2), marks=pytest.mark.slow),
    ],
)
def test_the_shipped_configs_compile_for_tpus(name, change, topology, slices, axes):
    pytest.importorskip("libtpu")
    found = load(ROOT / "configs" / f"{name}.py")
    with found.unlocked():
        change(found)
        found.mesh.update(axes)
    plan = stage.plan(resolve(parse_stage(found), ROOT), hardware.parse(topology, slices))
    assert plan["fits"] and plan["compile seconds"] > 0 and plan["bytes per chip"]["temporaries"] > 0
    assert plan["attention"] == ("tpu" if change is narrow else "plain")
