"""What a folder of images has to say before a run goes on in it."""

import pytest

from irg_jax.core.errors import UserError
from irg_jax.evaluation.benchmarks import BENCHMARKS
from irg_jax.evaluation.generate import generate
from irg_jax.evaluation.run import BenchmarkRun
from tests.evaluation import small_benchmarks


def test_images_that_no_run_describes_are_not_taken_for_this_run(tmp_path):
    """Their seed and step are in their folders, but not their weights and sampling."""
    path = small_benchmarks.wise(tmp_path)
    prompts = BENCHMARKS["wise"].read_prompts(path)
    run = BenchmarkRun("wise", "custom", str(path), prompts.digest, 6, "irg", "", 7, "", 2, 0, {})
    (tmp_path / "out" / "images" / "1").mkdir(parents=True)
    with pytest.raises(UserError, match="has images, but no run.json that says whose"):
        generate(prompts, run, tmp_path / "out", 4, lambda: pytest.fail("nothing may be loaded"))
