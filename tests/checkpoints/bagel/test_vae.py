"""Reading and writing a published VAE: every weight exactly once, every problem named."""

import json
import re

import jax
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from irg_jax.checkpoints.bagel import vae
from irg_jax.core.errors import UserError
from tests import released

FOLDER = released.FOLDER / "bagel"
CONFIG = released.config().vae


@pytest.fixture(scope="module")
def weights():
    return released.read_safetensors(FOLDER / "ae.safetensors")


# --- config and names


def test_the_config_of_a_folder_is_read():
    assert vae.read_config(FOLDER) == CONFIG
    assert CONFIG.downsample == 8


def test_a_folder_without_a_config_has_the_published_vae(tmp_path):
    assert vae.read_config(tmp_path) == vae.PUBLISHED


@pytest.mark.parametrize(
    "changes, problem",
    [
        ({"ch": None}, "ch is missing"),
        ({"depth": 3}, "depth is unknown"),
        ({"ch": 48}, "ch is 48, must be a multiple of 32, the groups of its norms"),
        ({"ch_mult": [1, 0]}, "ch_mult is [1, 0], must be a list of positive integers"),
        (
            {"scale_factor": "no", "z_channels": 1.5},
            "z_channels is 1.5, must be a positive integer; scale_factor is no,",
        ),
        ({"downsample": 16}, "downsample is 16, must be 8"),
        ({"in_channels": 4}, "in_channels is 4, must be 3"),
    ],
)
def test_a_config_of_another_vae_is_refused(tmp_path, changes, problem):
    values = json.loads((FOLDER / "ae_config.json").read_text()) | changes
    (tmp_path / "ae_config.json").write_text(json.dumps({k: v for k, v in values.items() if v is not None}))
    with pytest.raises(UserError, match=f"ae_config.json: {re.escape(problem)}"):
        vae.read_config(tmp_path)


@pytest.mark.parametrize("content", ["{", "[1]"])
def test_an_unreadable_config_is_refused(tmp_path, content):
    (tmp_path / "ae_config.json").write_text(content)
    with pytest.raises(UserError, match="ae_config.json: (cannot be read as JSON|must be a JSON object)"):
        vae.read_config(tmp_path)


def test_the_names_and_shapes_are_the_published_ones(weights):
    assert vae.published_shapes(CONFIG) == {key: value.shape for key, value in weights.items()}


def test_names_of_the_full_size():
    expected = vae.published_shapes(vae.PUBLISHED)
    assert len(expected) == 244
    assert expected["encoder.down.1.block.0.nin_shortcut.weight"] == (256, 128, 1, 1)
    assert expected["encoder.down.2.downsample.conv.weight"] == (512, 512, 3, 3)
    assert expected["decoder.up.0.block.2.norm1.weight"] == (128,)
    assert expected["decoder.mid.attn_1.proj_out.bias"] == (512,)


# --- weights; tests/models/vae/test_flux.py compares their outputs with the released ones


def test_weights_are_float32_whatever_the_file_holds(tmp_path, weights):
    short = {key: value.astype(ml_dtypes.bfloat16) for key, value in weights.items()}
    save_file(short, tmp_path / "ae.safetensors")
    read = vae.read(tmp_path / "ae.safetensors", CONFIG)
    assert {x.dtype for x in jax.tree.leaves(read)} == {np.dtype("float32")}
    kernel = short["decoder.conv_out.weight"].astype(np.float32).transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(read.decoder.conv_out.kernel[...], kernel)


def test_all_problems_are_named_at_once(tmp_path, weights):
    wrong = dict(weights)
    del wrong["encoder.conv_in.bias"]
    wrong["encoder.quant_conv.weight"] = np.zeros(2, np.float32)
    wrong["decoder.conv_in.weight"] = np.zeros((32, 4, 3, 3), np.float32)
    wrong["decoder.conv_in.bias"] = np.zeros(32, np.int8)
    wrong["decoder.norm_out.bias"] = np.where(np.arange(32) == 7, np.nan, 0).astype(np.float32)
    save_file(wrong, tmp_path / "ae.safetensors")
    with pytest.raises(UserError) as error:
        vae.read(tmp_path / "ae.safetensors", CONFIG)
    where, _, problems = str(error.value).rpartition(": ")
    assert where == f"{tmp_path / 'ae.safetensors'}: is not the VAE that its config describes"
    assert set(problems.split("; ")) == {
        "encoder.conv_in.bias is missing",
        "encoder.quant_conv.weight is not a weight of this VAE",
        "decoder.conv_in.weight has shape (32, 4, 3, 3), the config says (32, 16, 3, 3)",
        "decoder.conv_in.bias has dtype I8, supported are F16, BF16, F32, F64",
        "decoder.norm_out.bias contains NaN or infinity",
    }


def test_weights_of_another_config_are_named():
    with pytest.raises(
        UserError, match=r"encoder.down.0.block.1.conv1.bias is missing.*the config says \(128, 3, 3, 3\)"
    ):
        vae.read(FOLDER / "ae.safetensors", vae.PUBLISHED)


@pytest.mark.parametrize("damage", ["truncated", "empty", "not safetensors", "absent"])
def test_a_damaged_file_is_one_line(tmp_path, damage):
    path = tmp_path / "ae.safetensors"
    whole = (FOLDER / "ae.safetensors").read_bytes()
    contents = {"truncated": whole[:-1000], "empty": b"", "not safetensors": b"PK\3\4" + bytes(1000)}
    if damage in contents:
        path.write_bytes(contents[damage])
    with pytest.raises(UserError, match="ae.safetensors: cannot be read as safetensors") as error:
        vae.read(path, CONFIG)
    assert "\n" not in str(error.value)


# --- writing


def test_what_is_written_has_the_weights_of_the_file_that_was_read(weights, tmp_path):
    path = tmp_path / "ae.safetensors"
    vae.write(path, vae.read(FOLDER / "ae.safetensors", CONFIG))
    written = released.read_safetensors(path)
    assert written.keys() == weights.keys()
    for name, value in weights.items():
        np.testing.assert_array_equal(written[name], value.astype(np.float32), err_msg=name)
