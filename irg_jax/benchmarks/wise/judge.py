"""What WISE asks a judge about an image, and how its answer is read, in both versions (PKU-YuanGroup/WISE@eb51174)."""

import dataclasses
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from irg_jax.benchmarks.benchmark import Item, UnreadableAnswer
from irg_jax.benchmarks.judge import Question, Template, check_places, load_template
from irg_jax.benchmarks.wise.prompts import LEGACY, VERIFIED

# The official templates are the f-strings of Python scripts, so a place is spelled as an expression in them.
_PROMPT = ("{prompt}", "{prompt_data['Prompt']}")
_EXPLANATION = ("{explanation}", "{prompt_data['Explanation']}")
_MARKS = ("consistency", "realism", "aesthetic_quality")
_WORST, _BEST = 0, 2

_OWN_LEGACY = """\
You see an image that was made for a prompt. The explanation says what the prompt means.

Prompt: "{prompt}"
Explanation: "{explanation}"

Give three marks, each 0, 1 or 2. Be strict: 2 only where nothing at all is wrong; in doubt the lower mark.
- Consistency: does the image show what the prompt means, completely and without contradiction?
- Realism: could it be a photograph, with plausible light, matter and space?
- Aesthetic Quality: are its composition and colours exceptional?

Answer with these three lines and nothing else, with your marks in place of the zeros:
Consistency: 0
Realism: 0
Aesthetic Quality: 0"""

_OWN_VERIFIED = """\
You see an image that was made for a prompt. The explanation says what a correct image has to show.

Prompt: "{prompt}"
Explanation: "{explanation}"

The score is 1 if the image shows what the explanation asks for and is free of gross faults, whether or not it is
beautiful. It is 0 if anything of that is wrong, missing or in doubt.

Answer with one line and nothing else: "Score: 0" or "Score: 1"."""


def parse_legacy(answer: str) -> dict[str, float]:
    """The marks in an answer, as the official parser finds them; those that it does not find are left out.

    Both of its colons are ASCII, so a full-width one is not accepted; neither is one inside the bold markers, as in
    ``**Consistency:** 1``. Where no mark has its name, the first three of at least three bare lines of 0, 1 or 2 count.
    """
    if marks := _named_marks(":", answer):
        return marks
    lines = re.findall(r"(?m)^\s*([0-2])\s*$", answer)
    return dict(zip(_MARKS, map(float, lines[:3]), strict=True)) if len(lines) >= 3 else {}


def parse_legacy_bagel(answer: str) -> dict[str, float]:
    """``parse_legacy`` as in ByteDance-Seed/Bagel@056b5fd: full-width colons, too, but no lines without a name.

    BAGEL writes 9.9 for a mark that is missing, and refuses a file with a 9.9 in it; here it is left out.
    """
    return _named_marks(":：", answer)


def parse_verified(answer: str) -> dict[str, float]:
    """``{"score": 0.0 or 1.0}``, as the official parser finds it: behind "Score", or the only line of 0 or 1."""
    named = re.search(r"\*{0,2}Score\*{0,2}\s*:?\s*([01])\b", answer, re.IGNORECASE)
    lines = [named[1]] if named else re.findall(r"(?m)^\s*([01])\s*$", answer)
    return {"score": float(lines[0])} if len(lines) == 1 else {}


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How one version is judged.

    Attributes:
      system: SHA-256 of the official system message.
      own: the template of this project.
      official: the name of the official template by its SHA-256.
      judge: the official model, asked three times where an answer has no score.
      max_tokens: of an answer.
      options: what else the official request has.
      parse: finds the values in an answer.
      names: of the values.
    """

    system: str
    own: str
    official: Mapping[str, str]
    judge: str
    max_tokens: int
    options: Mapping[str, Any]
    parse: Callable[[str], dict[str, float]]
    names: tuple[str, ...]

    def template(self, path: Path | None) -> Template:
        """Reads the template, or gives that of this project. Raises UserError for one without its two places."""
        template = load_template(path, self.own, self.official, self.system)
        check_places(template, (_PROMPT, _EXPLANATION))
        return template

    def question(self, item: Item, template: Template) -> Question:
        """What to ask about the image of an item."""
        prompt, explanation = item.prompt, item.entry["Explanation"]
        values = dict.fromkeys(_PROMPT, prompt) | dict.fromkeys(_EXPLANATION, explanation)
        return Question(item.key, 0, "score", template.system, template.fill(values), self.max_tokens)

    def values(self, answer: str) -> dict[str, float]:
        """The values of a row.

        Thoughts in ``<think>`` are left out first, as the official script for WISE_Verified does.

        Raises:
          UnreadableAnswer: a value is missing, or a mark is more than 2, which the official parser would take.
        """
        spoken = re.sub(r"</think>\s*", "", re.sub(r"<think>.*?</think>\s*", "", answer, flags=re.DOTALL)).strip()
        found = self.parse(spoken)
        if missing := [name for name in self.names if name not in found]:
            raise UnreadableAnswer(f"answer {answer!r:.80}: has no {', '.join(missing)}; ask again")
        for name in self.names:
            if not _WORST <= found[name] <= _BEST:
                raise UnreadableAnswer(f"answer {answer!r:.80}: {name} is {found[name]:g}, not 0 to {_BEST}; ask again")
        return found


PROTOCOLS: Mapping[str, Protocol] = {
    LEGACY: Protocol(
        "1034e394de55d899eb78e5ad09835de551cefa5bfeb0ba4bf452c83f6285ffc0",
        _OWN_LEGACY,
        {"76f6efe6506725cf2aaf3860f0595deb29e68b57649d9a584712fbd39da9bb54": "WISE legacy gpt_eval.py"},
        "gpt-4o-2024-05-13",
        2000,
        {"temperature": 0},
        parse_legacy,
        _MARKS,
    ),
    VERIFIED: Protocol(
        "c9b9e5e189408801a05c600dfc385addc37bb1ebe9b933c74202ea72eb415f8c",
        _OWN_VERIFIED,
        {"b72932ce0313711651a182fc57a89c66393f9e4d7030ce24ca2c403f1aec1ae2": "WISE_Verified vllm_eval.py"},
        "Qwen3.5-35B-A3B",
        500,
        {"temperature": 0, "chat_template_kwargs": {"enable_thinking": False}},
        parse_verified,
        ("score",),
    ),
}


def _named_marks(colons: str, answer: str) -> dict[str, float]:
    pattern = rf"\*{{0,2}}(Consistency|Realism|Aesthetic Quality)\*{{0,2}}\s*[{colons}]?\s*(\d)"
    found = re.findall(pattern, answer, re.IGNORECASE)
    return {name.lower().replace(" ", "_"): float(mark) for name, mark in found}  # the last one of a name counts
