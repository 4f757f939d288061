"""What is asked of a judge about an image, and the templates of it. Nothing here talks to one."""

import dataclasses
import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from irg_jax.core.errors import UserError
from irg_jax.core.small_files import read_given_text


@dataclasses.dataclass(frozen=True)
class Question:
    """One call to a judge: a text and the image.

    Attributes:
      key: of the item; with ``sample`` it says which image is shown.
      sample: see ``key``.
      name: tells the questions about one image apart.
      system: the system message; empty for none.
      text: of the user message.
      max_tokens: of the answer; None where the official request sets no limit.
      logprobs: whether the log-probabilities of the first token are needed: the 20 most probable ones.
      image_first: whether the image stands before the text.
    """

    key: str
    sample: int
    name: str
    system: str
    text: str
    max_tokens: int | None
    logprobs: bool = False
    image_first: bool = False


@dataclasses.dataclass(frozen=True)
class Template:
    """A text with places where something is filled in.

    Attributes:
      text: as in the file.
      system: the system message that goes with it; empty for none.
      digest: SHA-256 of the text in UTF-8, hexadecimal.
      name: for reports: of the official template, ``own`` for that of this project, ``custom`` for another one.
      comparable: whether both texts are official ones, so that scores can be compared with published ones.
    """

    text: str
    system: str
    digest: str
    name: str
    comparable: bool

    def fill(self, values: Mapping[str, str]) -> str:
        """The text with each place, such as ``{prompt}``, replaced; what is filled in is not looked at again."""
        places = re.compile("|".join(re.escape(place) for place in values))
        return places.sub(lambda found: values[found[0]], self.text)


SYSTEM_FILE = "system.txt"


def load_template(path: Path | None, own: str, official: Mapping[str, str], official_system: str) -> Template:
    """Reads a template, and ``system.txt`` beside it if it is there, and says whether they are official ones.

    Official texts are recognised by their SHA-256, also where an editor has added one line end at their end.

    Args:
      path: a text file; None for ``own``.
      own: the template of this project.
      official: names of the official templates by their SHA-256, hexadecimal, whole or its beginning.
      official_system: SHA-256 of the official system message.

    Raises:
      UserError: it cannot be read, is empty, or is a Python script.
    """
    if path is None:
        return Template(own, "", _digest(own), "own", False)
    if path.suffix == ".py":
        raise UserError(
            f"--config.template {path}: is a script; copy what stands between the quotes of its template into a text"
        )
    text = read_given_text(path, "config.template")
    if not text.strip():
        raise UserError(f"--config.template {path}: is empty; write the template into it, or leave the flag out")
    beside = path.with_name(SYSTEM_FILE)
    system = read_given_text(beside, "config.template").removesuffix("\n") if beside.exists() else ""
    for candidate in (text, text.removesuffix("\n")):
        digest = _digest(candidate)
        for beginning, name in official.items():
            if digest.startswith(beginning):
                is_whole = _digest(system) == official_system
                return Template(candidate, system, digest, name if is_whole else f"{name}, other system", is_whole)
    return Template(text, system, _digest(text), "custom", False)


def check_places(template: Template, needed: Sequence[Sequence[str]]) -> None:
    """Checks that a template has all of its places; for each one, any of several spellings.

    Raises:
      UserError: it lacks one.
    """
    for spellings in needed:
        if not any(place in template.text for place in spellings):
            raise UserError(
                f"template {template.text!r:.60}: has no {' or '.join(spellings)}; write it where it belongs"
            )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
