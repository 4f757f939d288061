"""The model's config: derived sizes, refused values, and names that match the tables they select from."""

import dataclasses
import typing

import pytest

from irg_jax.core.errors import ConfigError
from irg_jax.models.attention import BACKENDS
from irg_jax.models.config import BACKEND_PLATFORMS, ExecutionConfig, FluxVAEConfig
from irg_jax.models.remat import POLICIES
from tests import tiny


def choices(field):
    return set(typing.get_args(typing.get_type_hints(ExecutionConfig)[field]))


def test_every_remat_policy_and_attention_backend_has_a_name_in_the_config():
    assert choices("remat") == set(POLICIES)
    assert choices("attention") == {"auto", *BACKENDS}
    assert set(BACKEND_PLATFORMS) < set(BACKENDS)


def test_auto_takes_the_gradients_written_for_cpus_on_cpus_only():
    assert tiny.EXECUTION.gradients == "auto"
    assert {platform: tiny.EXECUTION.on(platform).gradients for platform in ("cpu", "gpu", "tpu")} == {
        "cpu": "cpu", "gpu": "autodiff", "tpu": "autodiff",
    }  # fmt: skip
    assert tiny.execution(gradients="autodiff").on("cpu").gradients == "autodiff"


def test_sizes_of_a_generation_token():
    assert tiny.CONFIG.vae.channels == 3 * 4**2
    assert tiny.CONFIG.token_channels == 4 * tiny.CONFIG.vae.channels
    assert tiny.CONFIG.vae_stride == tiny.CONFIG.geometry.vae_stride == 8


def test_the_flux_vae_halves_the_resolution_once_less_than_it_has_widths():
    vae = FluxVAEConfig(width=128, multipliers=(1, 2, 4, 4), blocks=2, channels=16, scale=1.0, shift=0.0)
    assert vae.downsample == 8


@pytest.mark.parametrize(
    ("section", "changes", "key"),
    [
        (tiny.CONFIG.decoder, dict(kv_heads=3), "kv_heads"),
        (tiny.CONFIG.decoder, dict(head_dim=7), "head_dim"),
        (tiny.CONFIG.decoder, dict(hidden=18), "hidden"),
        (tiny.CONFIG.vit, dict(heads=3), "hidden"),
        (tiny.EXECUTION, dict(logits_chunk=0), "logits_chunk"),
    ],
)
def test_invalid_sizes_are_refused_by_their_key(section, changes, key):
    with pytest.raises(ConfigError) as error:
        dataclasses.replace(section, **changes)
    assert error.value.key == key
