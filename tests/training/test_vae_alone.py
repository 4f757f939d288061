"""The VAE alone learns to give pictures back, in a file that a run reads."""

import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pytest

from irg_jax.checkpoints.bagel import assets
from irg_jax.core.errors import ConfigError, UserError
from irg_jax.models.config import FluxVAEConfig
from irg_jax.models.vae.latents import to_bytes, to_unit
from irg_jax.training import vae_alone
from irg_jax.training.vae_alone import VAEAloneConfig
from tests.training.labelled_squares import squares, write, write_both

MODEL = FluxVAEConfig(width=32, multipliers=(1, 1), blocks=1, channels=4, scale=1.0, shift=0.0)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    files = write_both(tmp_path_factory.mktemp("squares"), 200, 19, size=16)
    return VAEAloneConfig(**files, steps=100, batch_size=16, lr=4e-3, warmup_steps=5, divergence=1e-3, seed=0)


@pytest.fixture(scope="module")
def trained(config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "vae"
    assert not vae_alone.is_trained(folder)
    return folder, vae_alone.train(config, MODEL, folder)


def test_pictures_come_back_from_the_file_as_well_as_the_metrics_say(trained):
    folder, metrics = trained
    assert vae_alone.is_trained(folder) and json.loads((folder / "metrics.json").read_text()) == metrics
    assert metrics["pictures"] == 19 and metrics["steps"] == 100
    pictures = squares(19, seed=1, size=16)["pictures"]
    vae = assets.open_vae(MODEL, folder)
    latents = vae.encode(to_unit(jnp.asarray(pictures)))
    assert latents.shape == (19, 8, 8, 4)
    assert metrics["std"] == pytest.approx(float(latents.std()), rel=1e-3)
    error = float(((np.asarray(to_bytes(vae.decode(latents)), np.float64) - pictures) ** 2).mean())
    assert metrics["psnr"] == pytest.approx(10 * np.log10(255**2 / error), abs=0.01)
    grey = float(((pictures - pictures.mean()) ** 2).mean())
    assert error < 0.5 * grey, "better than the mean of all pixels"


def test_the_divergence_pulls_latents_to_a_standard_normal(config, trained, tmp_path):
    _, weakly = trained
    strongly = vae_alone.train(dataclasses.replace(config, divergence=10.0), MODEL, tmp_path / "vae")
    assert strongly["std"] < 0.5 * weakly["std"], "the mean of a posterior that is the prior is 0"
    assert strongly["psnr"] < weakly["psnr"]


def test_pictures_that_do_not_fit_are_refused(config, tmp_path):
    other = write(tmp_path / "other.npz", **squares(3, seed=0, size=33))
    message = "other.npz: pictures have 33 pixels a side, which is no multiple of the 2 of a latent"
    with pytest.raises(UserError, match=message):
        vae_alone.train(dataclasses.replace(config, held_out=other), MODEL, tmp_path / "vae")
    assert not (tmp_path / "vae").exists()


def test_a_loss_that_is_not_finite_is_an_error(config, tmp_path):
    with pytest.raises(UserError, match="config.vae.lr: the loss is nan at step .; lower the learning rate"):
        vae_alone.train(dataclasses.replace(config, steps=3, warmup_steps=0, lr=1e30), MODEL, tmp_path / "vae")
    assert not vae_alone.is_trained(tmp_path / "vae")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"divergence": 0.0}, "divergence: 0.0 must be above 0"),
        ({"warmup_steps": 100}, "warmup_steps: 100 must be at least 0 and less than the 100 steps"),
        ({"held_out": ""}, "held_out: is empty; give an .npz file"),
    ],
)
def test_values_out_of_range_are_refused(config, changes, message):
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(config, **changes)
