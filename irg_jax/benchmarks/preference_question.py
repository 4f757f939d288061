"""What a judge of two images is asked, and how its answer is read. The text is our own, so is the scale."""

import hashlib
import re
from pathlib import Path
from typing import Literal

from irg_jax.benchmarks.benchmark import UnreadableAnswer
from irg_jax.core.small_files import read_text

Choice = Literal["first", "second", "tie"]

_TEMPLATE = Path(__file__).parent / "templates" / "preference.txt"
_ANSWER = re.compile(r"^\W*answer\W*?:\W*(first|second|tie)\W*$", re.IGNORECASE | re.MULTILINE)
_WORD = re.compile(r"\W*(first|second|tie)\W*", re.IGNORECASE)
_SHOWN_CHARS = 200


def question(prompt: str) -> str:
    """The text that stands before the two images."""
    return read_text(_TEMPLATE).replace("{prompt}", prompt)


def template_digest() -> str:
    """SHA-256 of the template, hexadecimal: answers to another template are not comparable."""
    return hashlib.sha256(read_text(_TEMPLATE).encode()).hexdigest()


def read_answer(text: str) -> Choice:
    """The choice in an answer: the line ``Answer: …``, or the bare word; bold and punctuation do not matter.

    Raises:
      UnreadableAnswer: there is no such line, or there are two that differ.
    """
    found = {match.lower() for match in _ANSWER.findall(text)}
    if bare := _WORD.fullmatch(text):
        found.add(bare[1].lower())
    for choice in ("first", "second", "tie"):
        if found == {choice}:
            return choice
    shown = repr(text[:_SHOWN_CHARS]) + ("…" if len(text) > _SHOWN_CHARS else "")
    reason = f"says both {' and '.join(sorted(found))}" if found else "has no line 'Answer: first', 'second' or 'tie'"
    raise UnreadableAnswer(f"the answer of a judge {reason}: {shown}; ask again, or another judge")
