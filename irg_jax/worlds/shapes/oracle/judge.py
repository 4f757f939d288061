"""The oracle as a judge: the questions of the benchmarks about one picture, and which of two pictures is better."""

import functools
import re

from irg_jax.core.errors import UserError
from irg_jax.worlds.shapes.oracle.pictures import pixels
from irg_jax.worlds.shapes.oracle.protocol import Question, Text
from irg_jax.worlds.shapes.prompts import parse_prompt
from irg_jax.worlds.shapes.questions import EXAMPLES, answer_question
from irg_jax.worlds.shapes.reader import SeenPicture, read_picture
from irg_jax.worlds.shapes.scene import Scene
from irg_jax.worlds.shapes.score import Score, score_seen

CONFIDENCE = 0.95  # probability that a yes/no answer gets
NO_TEXT = "No text recognized."  # with the full stop that OneIG-Bench's cleaning looks for
UNDERSTOOD = (
    f"one picture with yes/no questions, each at the end of a line (such as {EXAMPLES[0]!r} or {EXAMPLES[4]!r}); one "
    "with 'Does this figure show \"PROMPT\"?'; one with PROMPT in quotes or on a line of its own and the words "
    "Consistency, Realism and Aesthetic Quality, or 'Score: 0 or 1'; one with 'Recognize the text'; two pictures with "
    "PROMPT and the words first, second and tie"
)

_ASPECTS = ("Consistency", "Realism", "Aesthetic Quality")
_BINARY_SCORE = re.compile(
    r"\bscore\W+(?:0\W*(?:or|/|\|)\W*1|1\W*(?:or|/|\|)\W*0)\b(?!\W*(?:or)?\W*2\b)", re.IGNORECASE
)
_READ_TEXT = re.compile(r"\brecogni[sz]e (?:all )?(?:the |any )?text\b|\bno text recogni[sz]ed\b", re.IGNORECASE)
_SHOWS_PROMPT = re.compile(r"\b(?:show|depict|match|contain)\w* [\"“](.+?)[\"”]\s*\?", re.IGNORECASE)
_PREFERENCE = [re.compile(rf"\b{word}\b", re.IGNORECASE) for word in ("first", "second", "tie")]
_LABELLED = re.compile(r"\banswer: *(?:first|second|tie)\b", re.IGNORECASE)
_QUESTION = re.compile(r"(?:^|(?<=[.!?:)*-]\s))[^.!?:\n]*\?", re.MULTILINE)
_QUOTED = re.compile(r"[\"“](.+?)[\"”]|‘(.+?)’|(?<!\w)'(.+?)'(?!\w)")


def judge(question: Question) -> Text:
    """Answers from what the exact reader sees in the pictures; a damaged or foreign picture shows nothing.

    Raises:
      UserError: a question of no known form; its text says which are known.
    """
    text, shown = question.text, question.pictures
    if len(shown) == 2 and all(word.search(text) for word in _PREFERENCE):
        reasons, better = _prefer(*(_score(picture, _scene_in(text)) for picture in shown))
        return Text(f"{reasons}\n{'Answer: ' if _LABELLED.search(text) else ''}{better}")
    if len(shown) != 1:
        raise UserError(f"{len(shown)} pictures with {text[:80]!r}: the oracle understands {UNDERSTOOD}")
    (picture,) = shown
    if _READ_TEXT.search(text):
        return Text(_seen(picture).word or NO_TEXT)
    if (found := _SHOWS_PROMPT.search(text)) and (scene := parse_prompt(found[1])):
        return _yes_or_no([_score(picture, scene).correct])
    if _BINARY_SCORE.search(text) or ("Score: 0" in text and "Score: 1" in text):
        return Text(f"Score: {int(_score(picture, _scene_in(text)).correct)}")
    if all(aspect.lower() in text.lower() for aspect in _ASPECTS):
        marks = grade(_score(picture, _scene_in(text)))
        return Text("\n".join(f"{aspect}: {mark}" for aspect, mark in zip(_ASPECTS, marks, strict=True)))
    return _answer_questions(text, picture)


def grade(score: Score) -> tuple[int, int, int]:
    """Consistency, realism and aesthetic quality, 0 to 2 each, in the manner of WISE (arXiv 2503.07265).

    Consistency: 2 if the picture is right, 1 if it shows something, else 0. Realism: 2 from half of the detail of a
    good rendering, 1 for what is weaker, 0 for nothing. Aesthetic quality: the thirds of the detail.
    """
    something = bool(score.seen.objects)
    realism = 2 if score.detail >= 0.5 else int(something)
    return 2 if score.correct else int(something), realism, min(2, int(3 * score.detail))


# A picture is asked about many times, and reading it is what takes time.
@functools.lru_cache(maxsize=256)
def _seen(picture: bytes) -> SeenPicture:
    return read_picture(pixels(picture))


@functools.lru_cache(maxsize=256)
def _score(picture: bytes, scene: Scene) -> Score:
    return score_seen(pixels(picture), _seen(picture), scene)


def _prefer(first: Score, second: Score) -> tuple[str, str]:
    """A line of reasons, and ``first``, ``second`` or ``tie``.

    Better is what has fewer things wrong, then what has more detail, to two decimals.
    """
    # An empty picture is worse than any other: it has few things wrong only because there is nothing in it.
    ranks = [(bool(score.seen.objects), -len(score.reasons), round(score.detail, 2)) for score in (first, second)]
    reasons = "; ".join(
        f"{name}: {', '.join(score.reasons) or 'as asked for'}, detail {score.detail:.2f}"
        for name, score in (("first", first), ("second", second))
    )
    better = "tie" if ranks[0] == ranks[1] else "first" if ranks[0] > ranks[1] else "second"
    return reasons, better


def _scene_in(text: str) -> Scene:
    """The first prompt of the world in a text, in quotes, on a line of its own, or after a colon."""
    candidates = [next(filter(None, found)) for found in _QUOTED.findall(text)]
    for line in text.splitlines():
        candidates += [line, line.partition(":")[2]]
    for candidate in candidates:
        scene = parse_prompt(candidate.strip(" \t\"'*`<>[]“”"))
        if scene is not None:
            return scene
    raise UserError(f"no prompt of the shapes world in {text[:200]!r}: the oracle understands {UNDERSTOOD}")


def _answer_questions(text: str, picture: bytes) -> Text:
    seen, answers = _seen(picture), []
    for question in _QUESTION.findall(text):
        answer = answer_question(question, seen)
        if answer is None:
            raise UserError(f"the question {question.strip()!r}: the oracle understands {UNDERSTOOD}")
        answers.append(answer)
    if not answers:
        raise UserError(f"no question in {text[:200]!r}: the oracle understands {UNDERSTOOD}")
    return _yes_or_no(answers)


def _yes_or_no(answers: list[bool]) -> Text:
    """One answer per line; the log-probabilities are those of the first."""
    yes = CONFIDENCE if answers[0] else 1 - CONFIDENCE
    return Text("\n".join("Yes" if answer else "No" for answer in answers), {"Yes": yes, "No": 1 - yes})
