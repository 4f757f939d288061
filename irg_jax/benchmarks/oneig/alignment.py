"""OneIG-Bench's alignment: questions about anime, human and object, some of which depend on others.

As ``scripts/alignment/alignment_score.py`` of OneIG-Bench/OneIG-Benchmark@41b4983. Its judge is
Qwen2.5-VL-7B-Instruct; one of another model, or with other settings, is not comparable.
"""

from collections.abc import Mapping, Sequence

from irg_jax.benchmarks.oneig.question import Question
from irg_jax.benchmarks.oneig.references import Check
from irg_jax.core.errors import UserError

VALUE = "alignment"
MAX_TOKENS = 128
YES, NO = "Yes", "No"


def questions(checks: Sequence[Check]) -> tuple[Question, ...]:
    """What is asked about each image of a prompt, in the order of the file."""
    return tuple(
        Question(str(check.id), f"{check.text}. Please answer 'Yes' or 'No' only.", MAX_TOKENS) for check in checks
    )


def values(checks: Sequence[Check], answers: Mapping[str, str]) -> dict[str, float]:
    """The share of questions that hold in an image.

    An answer counts only if it is exactly ``Yes``: ``Yes.`` and ``yes`` do not. Nor does it where the answer to a
    direct parent is not; whether that parent counts itself makes no difference.

    Args:
      checks: of the prompt.
      answers: as they came, by the id of the question.

    Returns:
      the value of the row, ``{"alignment": 0.75}``.

    Raises:
      UserError: a question has no answer.
    """
    for check in checks:
        if str(check.id) not in answers:
            raise UserError(f"question {check.id} ({check.text:.60}) has no answer; ask it")
    yes = {check.id for check in checks if answers[str(check.id)] == YES}
    holds = [check.id in yes and yes.issuperset(check.parents) for check in checks]
    return {VALUE: sum(holds) / len(holds)}


def unclear(answers: Mapping[str, str]) -> list[str]:
    """The ids whose answer is neither ``Yes`` nor ``No``; the official rule counts them as no."""
    return [number for number, answer in answers.items() if answer not in (YES, NO)]
