"""Published results, to stand beside one's own. A figure that we know no source for is left out."""

import dataclasses
from collections.abc import Mapping

from irg_jax.benchmarks.wise.scoring import PLAIN_MEAN

_IRG = "arXiv 2509.06945"
_TIIF = "TIIF-Bench@3aae750"
_README = "README of Osilly/Interleaving-Reasoning-Generation"
_IMGEVAL = "GPT-ImgEval, arXiv 2504.02782"


@dataclasses.dataclass(frozen=True)
class PublishedRow:
    """What a source says about a model on a benchmark.

    Attributes:
      model: its name.
      benchmark: name of the benchmark.
      version: of the benchmark.
      figures: by the name that ``summarise`` gives them, as fractions, with the digits that were published.
      source: paper or repository.
      note: what to know before comparing; empty if nothing.
    """

    model: str
    benchmark: str
    version: str
    figures: Mapping[str, float]
    source: str
    note: str = ""


@dataclasses.dataclass(frozen=True)
class PublishedPreference:
    """A published preference between the two turns of IRG, as shares of all comparisons; the rest are ties."""

    judges: str
    turn1: float
    turn2: float
    source: str


# The formula of WISE's overall: BAGEL@056b5fd averages the categories, the official script weights them.
_WISE_PLAIN = (
    "the plain mean of the six categories (BAGEL@056b5fd, judge gpt-4o-2024-11-20); the official weights give {}, from "
    "rounded categories"
)
_WISE_IRG = "which formula gives this figure is not certain: the released script takes the plain mean of the categories"
_GENEVAL_IRG = "that the prompts are the short ones is taken from BAGEL's figure in the same table"
_WISE_IRG_ROUNDED = f"{_WISE_IRG}, but its rounded categories give 0.778 by it and 0.774 by the official weights"
_ONEIG = "the plain mean of the five scores"
_TURN_1 = "the first turn of the two-turn model"

PUBLISHED = (
    PublishedRow("IRG", "geneval", "short", {"overall": 0.85}, _IRG, _GENEVAL_IRG),
    PublishedRow("IRG", "wise", "legacy", {PLAIN_MEAN: 0.77}, _IRG, _WISE_IRG_ROUNDED),
    PublishedRow("IRG, turn 1", "wise", "legacy", {PLAIN_MEAN: 0.79}, _IRG, f"{_TURN_1}; {_WISE_IRG}"),
    PublishedRow("IRG", "tiif", "testmini", {"short/overall": 0.7600, "long/overall": 0.7377}, _IRG),
    PublishedRow("IRG", "genai_bench", "1600", {"overall": 0.84}, _IRG),
    PublishedRow("IRG", "oneig", "en", {"overall": 0.415}, _IRG, _ONEIG),
    PublishedRow("BAGEL", "geneval", "short", {"overall": 0.78}, _IRG),
    PublishedRow("BAGEL", "wise", "legacy", {PLAIN_MEAN: 0.52}, _IRG, _WISE_PLAIN.format("0.50")),
    PublishedRow("BAGEL", "tiif", "testmini", {"short/overall": 0.7097, "long/overall": 0.7179}, _IRG),
    PublishedRow("BAGEL", "genai_bench", "1600", {"overall": 0.79}, _IRG),
    PublishedRow("BAGEL", "oneig", "en", {"overall": 0.361}, _IRG, _ONEIG),
    PublishedRow("BAGEL + self-CoT", "geneval", "short", {"overall": 0.79}, _IRG),
    PublishedRow("BAGEL + self-CoT", "wise", "legacy", {PLAIN_MEAN: 0.70}, _IRG, _WISE_PLAIN.format("0.717")),
    PublishedRow("BAGEL + self-CoT", "tiif", "testmini", {"short/overall": 0.6806, "long/overall": 0.6878}, _IRG),
    PublishedRow("BAGEL + self-CoT", "genai_bench", "1600", {"overall": 0.81}, _IRG),
    PublishedRow("BAGEL + self-CoT", "oneig", "en", {"overall": 0.324}, _IRG, _ONEIG),
    PublishedRow("FLUX.1-dev", "geneval", "long", {"overall": 0.82}, _README, "of rewritten prompts"),
    PublishedRow("FLUX.1-dev", "wise", "legacy", {PLAIN_MEAN: 0.50}, _README, _WISE_IRG),
    PublishedRow("FLUX.1-dev", "tiif", "testmini", {"short/overall": 0.6624, "long/overall": 0.6672}, _README),
    PublishedRow("FLUX.1-dev", "genai_bench", "1600", {"overall": 0.76}, _README),
    PublishedRow("FLUX.1-dev", "oneig", "en", {"overall": 0.434}, _README, _ONEIG),
    PublishedRow("Show-o2", "geneval", "short", {"overall": 0.76}, _README),
    PublishedRow("Show-o2", "wise", "legacy", {PLAIN_MEAN: 0.61}, _README, _WISE_IRG),
    PublishedRow("Show-o2", "tiif", "testmini", {"short/overall": 0.6280, "long/overall": 0.6387}, _README),
    PublishedRow("Show-o2", "genai_bench", "1600", {"overall": 0.75}, _README),
    PublishedRow("Show-o2", "oneig", "en", {"overall": 0.308}, _README, _ONEIG),
    PublishedRow("GPT-4o", "geneval", "short", {"overall": 0.84}, _IMGEVAL),
    PublishedRow("Janus-Pro-7B", "geneval", "short", {"overall": 0.80}, _README),
    PublishedRow("Janus-Pro-7B", "wise", "legacy", {PLAIN_MEAN: 0.35}, _README, _WISE_IRG),
    PublishedRow("Janus-Pro-7B", "tiif", "testmini", {"short/overall": 0.6538, "long/overall": 0.6110}, _README),
    PublishedRow("Janus-Pro-7B", "genai_bench", "1600", {"overall": 0.75}, _README),
    PublishedRow("Janus-Pro-7B", "oneig", "en", {"overall": 0.267}, _README, _ONEIG),
    PublishedRow(
        "Janus-Pro, judged by GPT-4o",
        "tiif",
        "testmini",
        {"short/overall": 0.6650, "long/overall": 0.6502},
        _TIIF,
        "judged by GPT-4o; the answers published beside it give 0.6667 and 0.6519",
    ),
)

# The models of the comparison; a page says of which of them there is no figure with its source.
MODELS = ("IRG", "BAGEL", "BAGEL + self-CoT", "FLUX.1-dev", "Janus-Pro-7B", "Show-o2", "GPT-4o")

PUBLISHED_PREFERENCES = (
    PublishedPreference("MLLM judges", 0.367, 0.633, _IRG),
    PublishedPreference("people", 0.17, 0.74, _IRG),
)
