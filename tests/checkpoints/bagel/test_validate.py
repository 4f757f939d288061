"""``--check`` describes a folder and lists every problem."""

import numpy as np

from irg_jax.checkpoints.bagel import validate
from tests.checkpoints.bagel import folders


def test_a_good_folder_is_described_and_has_no_problems():
    lines, problems = validate.validate_checkpoint(folders.TINY)
    text = "\n".join(lines)
    assert problems == []
    assert "decoder: 3 layers, hidden 64, 4 query and 2 KV heads of 16, MLP 96, vocabulary 512" in text
    assert "image encoder: 2 layers used" in text
    assert "139 tensors, 0.00 GB, F32, in ema.safetensors" in text
    weights = [x.size for key, x in folders.tensors().items() if not key.endswith("pos_embed")]
    assert f"total {sum(weights):,}" in text


def test_all_problems_are_found_together(tmp_path):
    weights = folders.tensors()
    del weights["llm2vae.bias"]
    weights["vae2llm.bias"][3] = np.nan
    folder = folders.with_tensors(tmp_path / "b", weights, llm_config__eos_token_id=7)
    (folder / "ae.safetensors").unlink()
    _, problems = validate.validate_checkpoint(folder)
    text = " | ".join(problems)
    assert len(problems) == 4
    assert "llm2vae.bias is missing" in text
    assert "vae2llm.bias contains NaN or infinity" in text
    assert "eos_token_id 7" in text
    assert "ae.safetensors: cannot be read: No such file" in text


def test_an_unexpected_scalar_is_a_problem(tmp_path):
    weights = folders.tensors() | {"scale": np.ones((), np.float32)}
    _, problems = validate.validate_checkpoint(folders.with_tensors(tmp_path / "b", weights))
    assert problems == ["scale is not a weight of this model"]


def test_an_empty_folder_has_problems(tmp_path):
    _, problems = validate.validate_checkpoint(tmp_path)
    assert len(problems) == 2
    assert "llm_config.json: cannot be read" in problems[0]
    assert "no weights here" in problems[1]
