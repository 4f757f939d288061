"""From a BAGEL folder through both stages to a BAGEL folder: the 7B configs on the tiny checkpoint and toy data."""

import json

import numpy as np
import PIL.Image
import pytest
import safetensors.numpy

from tests import commands

TINY = commands.ROOT / "tests" / "data" / "bagel_tiny" / "bagel"
TOY = commands.ROOT / "tests" / "data" / "toy_dataset"
STEPS = 2


def sizes(start, tokenizer, **changes):
    """Overrides that make a 7B config fit the tiny checkpoint: paths and sizes, nothing else."""
    values = {
        "steps": STEPS,
        "init_from": start,
        "data.sources.irgl.format": "published",
        "data.sources.irgl.dir": TOY,
        "data.tokenizer": tokenizer,
        "data.batch_size": 1,
        "data.workers": 0,
        "data.rows_per_pack": 2,
        "data.budgets.images": 64,
        "data.buffer_gb": 0.1,
        "data.vae_image.max_size": 128,
        "data.vae_image.min_size": 32,
        "data.vit_image.max_size": 140,
        "data.vit_image.min_size": 56,
        "model.decoder.hidden": 64,
        "model.decoder.layers": 3,
        "model.decoder.heads": 4,
        "model.decoder.kv_heads": 2,
        "model.decoder.head_dim": 16,
        "model.decoder.mlp": 96,
        "model.decoder.vocab": 512,
        "model.vit.hidden": 48,
        "model.vit.layers": 2,
        "model.vit.heads": 4,
        "model.vit.mlp": 80,
        "model.vit.patches_per_side": 10,
        "model.vae.width": 32,
        "model.vae.multipliers": (1, 2, 1, 1),
        "model.vae.blocks": 1,
        "model.max_latent_size": 8,
        "optim.warmup_steps": 0,
        "optim.lr": 1e-3,
    }
    return [f"--config.{key}={value}" for key, value in (values | changes).items()]


def succeed(name, *flags):
    done = commands.run(name, *flags)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The converted checkpoint, both stages and the exported folder."""
    root = tmp_path_factory.mktemp("bagel")
    start, one, two = root / "converted", root / "irg_stage1", root / "irg_stage2"
    succeed("convert", "--from", f"bagel:{TINY}", "--to", f"orbax:{start}")
    budgets = {"data.budgets.und": 900, "data.budgets.gen": 320, "data.budgets.vit": 400, "data.budgets.images": 6}
    flags = sizes(start, start / "tokenizer", **budgets)
    succeed("train", "--config=configs/irg_7b_stage1.py", f"--workdir={one}", *flags)
    budgets = {"data.budgets.und": 400, "data.budgets.gen": 256, "data.budgets.vit": 200, "data.budgets.images": 4}
    flags = sizes(one, one / "tokenizer", **budgets)
    succeed("train", "--config=configs/irg_7b_stage2.py", f"--workdir={two}", *flags)
    succeed("convert", "--from", f"orbax:{two}", "--to", f"bagel:{root / 'out'}", "--dtype", "float32")
    return root


def test_the_exported_folder_has_the_files_and_weights_of_the_source(world):
    names = {path.name for path in TINY.iterdir()}
    assert names <= {path.name for path in (world / "out").iterdir()}
    ours, theirs = (safetensors.numpy.load_file(folder / "ema.safetensors") for folder in (world / "out", TINY))
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}
    moved = [name for name in ours if np.abs(ours[name] - theirs[name]).max() > 0]
    assert len(moved) > 0.9 * len(ours)
    assert not [name for name in moved if "pos_embed.pos_embed" in name]  # fixed tables
    assert max(np.abs(ours[name] - theirs[name]).max() for name in ours) < 0.1
    assert (world / "out" / "ae.safetensors").read_bytes() == (TINY / "ae.safetensors").read_bytes()
    succeed("convert", "--check", world / "out")


def test_every_mode_has_a_loss(world):
    header = (world / "irg_stage1" / "metrics.csv").read_text().splitlines()[0]
    for mode in ("initial_full_learning", "improving_full_learning", "improving_thinking_generation_learning"):
        assert f"loss/{mode}" in header


def test_an_image_size_beyond_the_position_table_is_refused(world, tmp_path, capfd):
    flags = [f"--checkpoint={world / 'irg_stage2'}", "--preset=released", "--prompt=a bench", f"--out={tmp_path}"]
    run = json.loads((world / "irg_stage2" / "config.json").read_text())
    assert run["sampling"]["time_points"] == 50
    # The config of the run asks for 1024 x 1024 pixels, more than the tiny position table has.
    done = commands.run_here(capfd, "generate", *flags)
    assert done.returncode == 2 and "sampling.image_size" in done.stderr


def test_generate_reproduces_the_released_trajectory(world, tmp_path):
    script, wanted = json.loads((TINY.parent / "two_turn.json").read_text()), np.load(TINY.parent / "two_turn.npz")
    for turn in (1, 2):
        (tmp_path / f"thinking{turn}.txt").write_text(script[f"think{turn}"])
    np.savez(tmp_path / "noise.npz", turn1=wanted["init_noise1"], turn2=wanted["init_noise2"])
    sampling = {
        "system_prompt": script["system_prompt"], "image_size": (64, 64), "max_thinking": (64, 64), "time_points": 6,
    }  # fmt: skip
    flags = [f"--thinking{turn}={tmp_path / f'thinking{turn}.txt'}" for turn in (1, 2)]
    flags += [f"--sampling={key}={value}" for key, value in sampling.items()]
    flags += ["--preset=released", f"--noise={tmp_path / 'noise.npz'}", f"--prompt={script['prompt']}"]
    succeed("generate", f"--checkpoint={world / 'converted'}", f"--out={tmp_path / 'out'}", *flags)
    for turn in (1, 2):
        image = np.asarray(PIL.Image.open(tmp_path / "out" / f"turn{turn}.png"))
        np.testing.assert_array_equal(image, wanted[f"image_turn{turn}"])
        assert (tmp_path / "out" / f"thinking{turn}.txt").read_text() == script[f"think{turn}"]


@pytest.mark.slow
def test_lora_trains_on_the_converted_weights_and_is_exported_merged_and_as_an_adapter(world, tmp_path):
    config = tmp_path / "lora.py"
    config.write_text(
        "from ml_collections import ConfigDict\nfrom configs import irg_7b_stage1\n"
        "def get_config():\n  c = irg_7b_stage1.get_config()\n"
        "  c.lora = ConfigDict(dict(rank=2, alpha=4.0, weights=r'blocks'))\n  return c\n"
    )
    start, run = world / "converted", tmp_path / "run"
    budgets = {"data.budgets.und": 900, "data.budgets.gen": 320, "data.budgets.vit": 400, "data.budgets.images": 6}
    flags = sizes(start, start / "tokenizer", **budgets)
    succeed("train", f"--config={config}", f"--workdir={run}", *flags)
    succeed(
        "export_lora", f"--run={run}", f"--merged_out={tmp_path / 'merged'}", f"--adapter_out={tmp_path / 'adapter'}"
    )
    target = f"bagel:{tmp_path / 'out'}"
    succeed("convert", "--from", f"orbax:{tmp_path / 'merged'}", "--to", target, "--dtype=float32")
    ours = safetensors.numpy.load_file(tmp_path / "out" / "ema.safetensors")
    theirs = safetensors.numpy.load_file(TINY / "ema.safetensors")
    factors = safetensors.numpy.load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    adapter_config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    scale = adapter_config["lora_alpha"] / adapter_config["r"]
    name = "language_model.model.layers.1.self_attn.q_proj_moe_gen"
    update = (
        scale * factors[f"base_model.model.{name}.lora_B.weight"] @ factors[f"base_model.model.{name}.lora_A.weight"]
    )

    assert np.abs(update).max() > 1e-5
    np.testing.assert_allclose(ours[f"{name}.weight"], theirs[f"{name}.weight"] + update, rtol=0, atol=1e-7)
    unchanged = "language_model.model.embed_tokens.weight"
    np.testing.assert_array_equal(ours[unchanged], theirs[unchanged])
