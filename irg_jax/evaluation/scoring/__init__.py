"""From the images of a benchmark to its rows: by files, or by a judge."""

from collections.abc import Callable

from irg_jax.benchmarks.benchmark import FoundImages, PromptSet
from irg_jax.evaluation.scoring import genai_bench, geneval, oneig, tiif, wise
from irg_jax.evaluation.scoring.evidence import Evidence, Sources

SCORERS: dict[str, Callable[[PromptSet, FoundImages, Sources], Evidence]] = {
    "geneval": geneval.score,
    "wise": wise.score,
    "tiif": tiif.score,
    "genai_bench": genai_bench.score,
    "oneig": oneig.score,
}
FILES: dict[str, dict[str, str]] = {
    "geneval": geneval.FILES,
    "wise": {},
    "tiif": tiif.FILES,
    "genai_bench": genai_bench.FILES,
    "oneig": oneig.FILES,
}
