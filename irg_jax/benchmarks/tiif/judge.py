"""What TIIF-Bench asks a judge about an image, and how its answer is read (A113N-W3I/TIIF-Bench@3aae750)."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from irg_jax.benchmarks.benchmark import Item, UnreadableAnswer
from irg_jax.benchmarks.judge import SYSTEM_FILE, Question, Template, check_places, load_template
from irg_jax.benchmarks.tiif.prompts import answers_of
from irg_jax.core.errors import UserError

OFFICIAL_JUDGE = "Qwen2.5-VL-72B-Instruct"  # of the README; the script's default is gpt-4o
OFFICIAL_TEMPERATURE = 1.0

_PLACE = "##YNQuestions##"
_OFFICIAL = {
    "d31a2a63260a75b36ebfe6d80e75a77206adb3c1c2c01d07e6d10ae6c8b90743": "TIIF-Bench raw_prompt",
    "d8dc329af43e1ea1d1eba1b583fbc4f0e62be0231471750c62abe7fa59cf78e1": "TIIF-Bench raw_prompt_1",
    "642193592eea8991999b68fedf3d11e88bb709674753d755a9055c359eac7084": "TIIF-Bench raw_prompt_2",
}
_OFFICIAL_SYSTEM = "84fd78b891828c5a83e90b5ca8e145650e47faa44f8d282674759ba1d74bf943"
_OWN = """\
Look closely at the image and answer these questions about it, in their order:

##YNQuestions##

Write one line for each question and nothing else. A line begins with "yes" or "no"; a short reason may follow."""


def load_templates(path: Path | None) -> tuple[Template, ...]:
    """The templates to choose from: the official ones in the official order, then others by the names of their files.

    Args:
      path: a text file with one, a folder with several ``.txt``; None for that of this project.

    Raises:
      UserError: nothing is there, a file cannot be read, or has no place for the questions.
    """
    files: list[Path | None] = [path]
    if path is not None and path.is_dir():
        files = [file for file in sorted(path.glob("*.txt")) if file.name != SYSTEM_FILE]
        if not files:
            raise UserError(f"--config.template {path}: has no .txt; save each template there as one")
    templates = [load_template(file, _OWN, _OFFICIAL, _OFFICIAL_SYSTEM) for file in files]
    for template in templates:
        check_places(template, [(_PLACE,)])
    order = list(_OFFICIAL)
    return tuple(sorted(templates, key=lambda t: order.index(t.digest) if t.digest in order else len(order)))


def choose_template(templates: Sequence[Template], key: str, seed: int | None = None) -> Template:
    """The template for an item: the first one, or with a seed a random one, as the official script draws for each call.

    The draw is a function of the seed and the key, so it depends neither on the order of the calls nor on a restart.
    """
    if seed is None:
        return templates[0]
    return templates[int.from_bytes(hashlib.sha256(f"{seed} {key}".encode()).digest()) % len(templates)]


def question(item: Item, template: Template) -> Question:
    """All questions about the image of an item, in one call."""
    questions = "\n".join(text.strip() for text in item.entry["yn_question_list"])
    return Question(item.key, 0, "questions", template.system, template.fill({_PLACE: questions}), None)


def parse(answer: str, questions: int) -> list[str]:
    """``yes`` or ``no`` for each question: lines that do not begin with one of them are passed over.

    Raises:
      UnreadableAnswer: there are more or fewer such lines than questions.
    """
    found = [re.match(r"^(yes|no)\b", line.strip(), re.IGNORECASE) for line in answer.strip().split("\n")]
    answers = [match[1].lower() for match in found if match]
    if len(answers) != questions:
        raise UnreadableAnswer(
            f"answer {answer!r:.80}: has {len(answers)} lines that begin with yes or no, for {questions} questions; "
            "ask again"
        )
    return answers


def values(item: Item, answer: str) -> dict[str, float]:
    """The values of a row: how many questions there are, and how many have the right answer. See ``parse``."""
    right = answers_of(item)
    return count(right, parse(answer, len(right)))


def count(right: Sequence[str], given: Sequence[str]) -> dict[str, float]:
    """``{"correct": …, "questions": …}`` of answers in lower case."""
    pairs = zip(right, given, strict=True)
    return {"correct": float(sum(one == other for one, other in pairs)), "questions": float(len(right))}
