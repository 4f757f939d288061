"""The command, and two steps from its latents with the losses of two steps from pixels."""

import csv

import pytest

from tests import commands

CONFIG = "--config=configs/template.py"
FLAGS = commands.small(steps=2, log__every=1)


def curve(workdir):
    with open(workdir / "metrics.csv", newline="") as file:
        return [[float(row[name]) for name in ("loss", "ce", "mse", "grad_norm")] for row in csv.DictReader(file)]


def succeed(name, *flags):
    done = commands.run(name, *flags)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.slow  # three trainings; tests/training/test_encode_ahead.py has the same path in one process
def test_training_from_latents_has_the_losses_of_training_from_pixels(tmp_path):
    pixels, ahead, latents = (tmp_path / name for name in ("pixels", "ahead", "latents"))
    succeed("train", CONFIG, f"--workdir={pixels}", *FLAGS)
    encode = [f"--data={pixels}/data/shapes", f"--checkpoint={pixels}", f"--out={latents}", "--dtype=float32"]
    assert succeed("encode_latents", *encode).stdout.strip() == str(latents / "train")
    assert "0 to write here" in succeed("encode_latents", *encode).stderr
    data = [
        f"--config.data.sources.shapes.dir={pixels}/data/shapes",
        f"--config.data.tokenizer={pixels}/data/tokenizer",
    ]
    data.append(f"--config.data.sources.shapes.latents={latents}")
    config = f"--config={pixels}/config.json"
    succeed("train", config, f"--workdir={ahead}", *data)
    assert len(curve(pixels)) == 2
    for ours, wanted in zip(curve(ahead), curve(pixels), strict=True):
        assert ours == pytest.approx(wanted, rel=1e-6)
    validate = ["--config.validation.every=2", "--config.validation.batches=1"]
    done = commands.run("train", config, f"--workdir={tmp_path / 'other'}", *data, *validate)
    assert done.returncode == 2 and "held_out/latents.json: missing" in done.stderr
    succeed("encode_latents", *encode, "--split=held_out")
    succeed("train", config, f"--workdir={tmp_path / 'other'}", *data, *validate)
