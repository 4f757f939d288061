"""The five benchmarks by name."""

from irg_jax.benchmarks import genai_bench, geneval, oneig, tiif, wise
from irg_jax.benchmarks.benchmark import Benchmark

BENCHMARKS: dict[str, Benchmark] = {module.NAME: module for module in (geneval, wise, tiif, genai_bench, oneig)}
