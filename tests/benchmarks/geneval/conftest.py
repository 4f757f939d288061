"""The prompts of ``small``, and the folder of their images as it is written."""

import pytest

from irg_jax.benchmarks import geneval
from tests.benchmarks.geneval.small import image, read_prompts


@pytest.fixture
def prompts(tmp_path):
    return read_prompts(tmp_path)


@pytest.fixture
def folder(tmp_path, prompts):
    geneval.write_layout(prompts, image, tmp_path / "images", model="any")
    return tmp_path / "images"
