"""What a good answer is. A fault has a short rule, for counting, and a reason, which the teacher is told."""

import re
import unicodedata
from collections import Counter
from typing import NamedTuple

from irg_jax.curation.config import ChecksConfig
from irg_jax.endpoints.pictures import Picture

HEADINGS = (
    "### Detailed Explanation of Required Improvements:",
    "### Step-by-Step Modification Guidance:",
    "### Final Comprehensive Prompt for the Improved Image:",
)
_MIN_OPENING = 10  # characters that name a shortcoming at least
_SHARE_OF_SCRIPT = 0.5  # of the letters, at least

# Thinking 2 is learned by a model that sees the first image only. A phrase counts outside the headings.
_OTHER_IMAGE = re.compile(
    r"\b(?:second|2nd|improved|better|good|target|reference|revised|enhanced|edited|other|latter|corrected)"
    r"\s+(?:image|picture|photo|version|render(?:ing)?)\b"
    r"|\b(?:image|picture)\s*(?:2|two|b)\b|\bboth\s+(?:images|pictures)\b|\btwo\s+(?:images|pictures)\b"
    r"|第二[张幅]|图(?:片|像)?\s*[2二]|改进后的?图|两[张幅]图",
    re.IGNORECASE,
)
# Scripts that are written together.
_SCRIPTS = {"hiragana": "cjk", "katakana": "cjk"}


class Fault(NamedTuple):
    """Why an answer cannot be used."""

    rule: str
    reason: str


def check_thinking1(text: str, prompt: str, config: ChecksConfig) -> Fault | None:
    """What is wrong with a thinking 1: a text inside ``<think> … </think>``; None if nothing is."""
    inside, fault = _inside(text)
    if fault is not None:
        return fault
    bounds = config.thinking1
    return _length(inside, bounds.min_chars, bounds.max_chars) or _script(inside, prompt, config.script)


def check_thinking2(text: str, prompt: str, config: ChecksConfig) -> Fault | None:
    """What is wrong with a thinking 2, None if nothing is.

    It has ``<think> … </think>`` around an opening and the three headed parts, each heading once and on a line of its
    own, nothing empty; no word of another image than the first; its length; its script.
    """
    inside, fault = _inside(text)
    if fault is not None:
        return fault
    pieces = re.split(r"^[ \t]*(###.*?)[ \t]*$", inside, flags=re.MULTILINE)
    parts, headings = pieces[::2], tuple(pieces[1::2])
    if headings != HEADINGS:
        wanted = " / ".join(HEADINGS)
        return Fault("headings", f"after the opening paragraph it must have exactly these headings in order: {wanted}")
    opening, *rest = (part.strip() for part in parts)
    if len(opening) < _MIN_OPENING:
        return Fault("opening", "it must begin with a paragraph that names the shortcomings of the image")
    for heading, part in zip(HEADINGS, rest, strict=True):
        if not part:
            return Fault("empty part", f"nothing is written under {heading}")
    body = "\n".join((opening, *rest))
    if found := _OTHER_IMAGE.search(body):
        return Fault(
            "other image",
            f"it must not mention any image but the first one, but it says {found[0]!r}; describe changes",
        )
    bounds = config.thinking2
    return _length(inside, bounds.min_chars, bounds.max_chars) or _script(body, prompt, config.script)


def check_picture(picture: Picture, config: ChecksConfig) -> Fault | None:
    """What is wrong with a picture; None if nothing is."""
    if picture.fault:
        return Fault("no picture", picture.fault)
    if min(picture.width, picture.height) < config.min_side:
        size = f"{picture.width} x {picture.height}"
        return Fault("too small", f"the picture has {size} pixels; its sides must have at least {config.min_side}")
    return None


def main_script(text: str) -> tuple[str, float]:
    """The script of most letters of a text, such as ``latin`` or ``cjk``, and its share; empty without letters."""
    counts: Counter[str] = Counter()
    for letter in filter(str.isalpha, text):
        script = unicodedata.name(letter, "unknown").partition(" ")[0].lower()
        counts[_SCRIPTS.get(script, script)] += 1
    if not counts:
        return "", 0.0
    script, count = counts.most_common(1)[0]
    return script, count / counts.total()


def _inside(text: str) -> tuple[str, Fault | None]:
    found = re.fullmatch(r"<think>(.*)</think>", text, re.DOTALL)
    if found is None or "<think>" in found[1] or "</think>" in found[1]:
        return "", Fault(
            "think tags", "it must begin with <think>, end with </think>, and have nothing outside of them"
        )
    return found[1].strip(), None


def _length(text: str, minimum: int, maximum: int) -> Fault | None:
    if len(text) < minimum:
        return Fault("too short", f"it has {len(text)} characters; write at least {minimum}")
    if len(text) > maximum:
        return Fault("too long", f"it has {len(text)} characters; write at most {maximum}")
    return None


def _script(text: str, prompt: str, wanted: str) -> Fault | None:
    script = main_script(prompt)[0] if wanted == "prompt" else wanted
    if wanted == "any" or not script:
        return None
    found, share = main_script(text)
    if found == script and share >= _SHARE_OF_SCRIPT:
        return None
    return Fault(
        "language", f"it must be in the language of the prompt ({script} letters), but most are {found or 'none'}"
    )
