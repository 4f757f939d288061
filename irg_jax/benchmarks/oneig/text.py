"""OneIG-Bench's text rendering: what a vision language model reads in the image, against what should stand there.

As ``scripts/text`` of OneIG-Bench/OneIG-Benchmark@41b4983, English. Its judge is Qwen2.5-VL-7B-Instruct; one of another
model, or with other settings, is not comparable.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from irg_jax.benchmarks.benchmark import Row
from irg_jax.benchmarks.oneig.question import Question
from irg_jax.core.errors import UserError

DISTANCE, EXACT, MATCHED, WORDS = "edit distance", "exact", "matched words", "words"
MAX_DISTANCE = 100

PROMPT = (
    "Recognize the text in the image, only reply with the text content, but avoid repeating previously mentioned "
    "content. If no text is recognized, please reply with 'No text recognized'."
)
_ID = "ocr"
_LONG_TEXT = 60  # words of the list as it is in the file
_MAX_TOKENS, _MAX_TOKENS_LONG = 128, 256

# The first appears in answers of Qwen2.5-VL by itself. Without the full stop, the second stays as text that was read.
_NO_TEXT = ("addCriterion", "No text recognized.")
_KEPT = "\u4e00-\u9fa5a-zA-Z0-9àâäéèêëîïôöùûüçÀÂÄÉÈÊËÎÏÔÖÙÛÜÇ"
_CHINESE = re.compile("[\u4e00-\u9fff]")


class Components(NamedTuple):
    """The three figures that the score is made of, over images: mean edit distance, share of exact ones, and words."""

    distance: float
    completion_rate: float
    word_accuracy: float


def questions(text: str) -> tuple[Question, ...]:
    """What is asked about each image of a prompt.

    Args:
      text: ``text_content`` as it is in the file; from 61 words on the answer may be longer.
    """
    return (Question(_ID, PROMPT, _MAX_TOKENS_LONG if len(text.split()) > _LONG_TEXT else _MAX_TOKENS),)


def values(text: str, answers: Mapping[str, str]) -> dict[str, float]:
    """What the score needs of an image: the edit distance, whether it is exact, and two counts of words.

    Args:
      text: ``text_content`` as it is in the file.
      answers: as they came, by the id of the question.

    Raises:
      UserError: there is no answer.
    """
    if _ID not in answers:
        raise UserError("the text in the image has not been read; ask for it")
    wanted, read = normalise(text), normalise(clean(answers[_ID]))
    distance = edit_distance(read, wanted)
    matched, words = count_words(wanted, read)
    return {DISTANCE: float(distance), EXACT: float(distance == 0), MATCHED: float(matched), WORDS: float(words)}


def clean(answer: str) -> str:
    """An answer without the phrases for no text."""
    for phrase in _NO_TEXT:
        answer = answer.replace(phrase, "")
    return answer


def normalise(text: str) -> str:
    """Letters of English and French, digits and Chinese characters, with single spaces; case stays.

    A text with a Chinese character loses all spaces.
    """
    kept = re.sub(rf"[^{_KEPT}\s]", "", text)
    if _CHINESE.search(kept):
        return re.sub(r"\s", "", kept)
    return re.sub(r"\s+", " ", kept).strip()


def edit_distance(one: str, other: str) -> int:
    """Levenshtein's: the least number of characters to insert, delete or replace."""
    row = list(range(len(other) + 1))
    for i, character in enumerate(one, start=1):
        before, row[0] = row[0], i
        for j, wanted in enumerate(other, start=1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (character != wanted))
    return row[-1]


def count_words(wanted: str, read: str) -> tuple[int, int]:
    """How many words were read that should be there, each as often as it should be, and how many should be there.

    Args:
      wanted: normalised. If it has a Chinese character, characters are counted instead of words.
      read: normalised.
    """
    split = list if _CHINESE.search(wanted) else str.split
    there, seen = Counter(split(wanted)), Counter(split(read))
    return sum((there & seen).values()), sum(there.values())


def components(rows: Sequence[Row]) -> Components:
    """The mean edit distance, the completion rate and the word accuracy, over all images together.

    Raises:
      UserError: no rows of this metric, or none with a word.
    """
    given = [row.values for row in rows if DISTANCE in row.values]
    words = sum(values[WORDS] for values in given)
    if not words:
        raise UserError("oneig: no image has a text to compare with; score images of the category text")
    return Components(
        sum(values[DISTANCE] for values in given) / len(given),
        sum(values[EXACT] for values in given) / len(given),
        sum(values[MATCHED] for values in given) / words,
    )


def score(found: Components) -> float:
    """1 - min(100, ED) (1 - CR) (1 - WAC) / 100."""
    far = min(MAX_DISTANCE, found.distance)
    return 1 - far * (1 - found.completion_rate) * (1 - found.word_accuracy) / MAX_DISTANCE
