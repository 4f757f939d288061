"""What a run will cost, before anything is paid: from the lengths of its texts, the prices and what was paid so far."""

import dataclasses
from collections.abc import Mapping, Sequence

from irg_jax.curation.config import CurateConfig
from irg_jax.curation.prompts import Entry
from irg_jax.curation.template import Template
from irg_jax.endpoints.client import price_of
from irg_jax.endpoints.journal import Spending

CHARS_PER_TOKEN = 4  # of English prose; other languages have fewer
_MAIN_TEMPLATE = {"thinking1": "thinking1", "thinking2": "thinking2"}


@dataclasses.dataclass(frozen=True)
class StepEstimate:
    """One step's part of the estimate, in the currency of the prices.

    Attributes:
      step: that is paid for.
      model: that is asked.
      answers: that are still needed.
      each: one answer, of its full length, or the mean of those so far.
      measured: whether ``each`` is that mean.
    """

    step: str
    model: str
    answers: int
    each: float
    measured: bool

    @property
    def total(self) -> float:
        """All answers at the first attempt."""
        return self.answers * self.each


def estimate(
    config: CurateConfig, entries: Sequence[Entry], templates: Mapping[str, Template],
    spending: Mapping[tuple[str, str], Spending],
) -> list[StepEstimate]:  # fmt: skip
    """The estimate of each step that has a teacher.

    A text is taken to have a token per ``CHARS_PER_TOKEN`` characters, a picture ``image_tokens``, an answer
    ``max_tokens``. Where answers of the model are in the journal, their mean cost is taken instead.

    Args:
      config: of the command.
      entries: of the input.
      templates: by name.
      spending: of earlier runs, by step and model.
    """
    found = []
    for step, teacher in config.teachers().items():
        missing = [entry for entry in entries if not entry.has(step)]
        before = spending.get((step, teacher.model), Spending())
        answers = max(len(missing) - before.answers, 0)
        if before.answers:
            each = before.cost / before.answers
        else:
            edits = step == "image2" and config.image2.method == "edit"
            name = _MAIN_TEMPLATE.get(step, "image2_edit" if edits else "image2_generate")
            prompts = sum(len(entry.prompt) for entry in missing) / max(len(missing), 1)
            plan = config.checks.thinking1.max_chars if "{thinking1}" in templates[name].text else 0
            shown = 2 if step == "thinking2" else 1 if edits else 0
            read = (len(templates[name].text) + prompts + plan) / CHARS_PER_TOKEN + shown * teacher.image_tokens
            each = price_of(teacher, read, teacher.max_tokens)
        found.append(StepEstimate(step, teacher.model, answers, each, before.answers > 0))
    return found


def in_words(steps: Sequence[StepEstimate], config: CurateConfig, spent: float) -> list[str]:
    """The lines that are shown before the first request."""
    lines = []
    for step in steps:
        how = "the mean so far" if step.measured else "of full length"
        lines.append(
            f"{step.step}: {step.answers} answers of {step.model}, {step.each:.5f} each ({how}): {step.total:.2f}"
        )
    total = sum(step.total for step in steps)
    lines.append(
        f"estimate: {total:.2f}, at most {config.attempts * total:.2f} if every answer is asked for {config.attempts} "
        f"times; spent so far {spent:.2f}, budget {config.budget:.2f}"
    )
    if spent + total > config.budget:
        lines.append("the budget will stop it before the end; it can go on with a higher one")
    return lines
