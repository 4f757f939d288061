"""The benchmarks at their smallest: they run, and their figures are consistent."""

import json

import jax
import pytest

from irg_jax.core.config.files import load
from irg_jax.perf import growth, train
from irg_jax.sharding.mesh import make_mesh
from irg_jax.training.config import parse_stage
from tests import commands

SMALL = """
from irg_jax.configs import midsize


def get_config():
    c = midsize.get_config()
    c.data.batch_size = 2
    c.model.decoder.update(hidden=16, layers=1, heads=2, kv_heads=1, head_dim=8, mlp=16, vocab=300)
    c.model.vit.update(hidden=16, layers=1, heads=2, mlp=16)
    c.model.vae.update(width=32, multipliers=(1, 1, 1, 1))
    c.data.vae_image.update(max_size=32, min_size=32)
    c.data.vit_image.update(max_size=28, min_size=28)
    c.data.budgets.update(und=1100, gen=16, vit=8, images=4)
    c.sampling.update(
        system_prompt="word " * 5, image_size=(32, 32), prompt_bucket=8, max_prompt=8, max_thinking=(8, 12),
        time_points=3,
    )
    return c
"""


@pytest.fixture
def measure(tmp_path):
    """A function that runs a benchmark of the small config and returns its figures."""
    (tmp_path / "small.py").write_text(SMALL)

    def run(benchmark, *flags):
        out = tmp_path / "figures.json"
        done = commands.run(
            "bench", benchmark, f"--config={tmp_path / 'small.py'}", "--repeats=1", f"--json={out}", *flags
        )
        assert done.returncode == 0, done.stderr
        return json.loads(out.read_text())

    return run


def test_a_step_is_measured_as_a_whole_and_in_parts(measure):
    found = measure("train")
    # Two rows of two samples: 66 + 194 + 258 words, 6 vision_start and vision_end, 4 ViT patches, 2 images of 4 tokens.
    assert (found["rows"], found["tokens"], found["tokens, generation"]) == (2, 4 * (518 + 6 + 4 + 8), 4 * 8)
    parts = [found[f"{part}, s"] for part in ("forward", "backward", "update")]
    assert sum(parts) == pytest.approx(found["step, s"])
    assert found["tokens/s"] == pytest.approx(found["tokens"] / found["step, s"])
    assert found["model GFLOP/s"] == pytest.approx(found["model GFLOP per step"] / found["step, s"])
    assert found["attention"] == "chunked" and "MFU" not in found and 0 < found["peak memory, GiB"] < 8


def test_a_row_without_room_for_a_sample_is_refused(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(train, "make_mesh", lambda config: make_mesh(config, jax.devices()[:1]))
    (tmp_path / "small.py").write_text(SMALL)
    line = ["train", f"--config={tmp_path / 'small.py'}", "--config.data.budgets.und=50"]
    done = commands.run_here(capfd, "bench", *line)
    assert done.returncode == 2 and "config.data.budgets: a row has no room for a sample" in done.stderr


def test_two_turns_are_measured_in_parts(measure):
    found = measure("generate")
    parts = ("thinking 1", "image 1", "thinking 2", "prefill of image 1, image 2")
    assert sum(found[part] for part in parts) == pytest.approx(found["two turns"])


@pytest.mark.slow
def test_growth_is_measured_and_plotted(tmp_path, monkeypatch):
    for name, factors in (("LENGTHS", (1, 2)), ("ROWS", (2,)), ("LAYERS", (2,))):
        monkeypatch.setattr(growth, name, factors)
    # One device compiles in half the time of eight.
    monkeypatch.setattr(train, "make_mesh", lambda config: make_mesh(config, jax.devices()[:1]))
    (tmp_path / "small.py").write_text(SMALL)
    config = parse_stage(load(tmp_path / "small.py"))
    found = growth.growth(config, repeats=1)
    x = {name.split(" by ")[1]: [x for x, _ in value] for name, value in found.items()}
    assert x == {"tokens per row": [1072, 2144], "rows": [4], "layers": [2]}
    assert all(y > 0 for value in found.values() for _, y in value)
    growth.plot(found, tmp_path / "growth.png")
    assert (tmp_path / "growth.png").stat().st_size > 5000


def test_the_memory_of_attention_is_linear_in_tokens(tmp_path):
    (tmp_path / "small.py").write_text(SMALL)
    config = parse_stage(load(tmp_path / "small.py"))
    small, large = (growth.attention_bytes(config, tokens) for tokens in (2048, 8192))
    assert large < 4.1 * small


def test_an_unknown_benchmark_is_refused(tmp_path, capfd):
    (tmp_path / "small.py").write_text(SMALL)
    done = commands.run_here(capfd, "bench", "fly", f"--config={tmp_path / 'small.py'}")
    assert done.returncode == 2 and "'fly' is not one of" in done.stderr
