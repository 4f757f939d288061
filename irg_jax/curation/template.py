"""Prompt templates: text files with ``{name}`` where something is filled in."""

import dataclasses
import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path

from irg_jax.core.errors import UserError
from irg_jax.core.small_files import read_text
from irg_jax.endpoints.pictures import Picture

SHIPPED = Path(__file__).parent / "templates"
_PLACE = re.compile(r"\{([a-z][a-z0-9_]*)\}")

# For each template what it may fill in, the first ones it must.
_PLACES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "thinking1": (("prompt",), ()),
    "thinking1_from_image": (("prompt", "image2"), ()),
    "image2_generate": (("prompt",), ("thinking1",)),
    "image2_edit": (("prompt",), ("thinking1",)),
    "thinking2": (("prompt", "image1", "image2"), ("thinking1",)),
    "retry": (("reason",), ()),
}


@dataclasses.dataclass(frozen=True)
class Template:
    """A template of a request.

    Attributes:
      name: of its file, without ``.txt``.
      text: as in the file.
      digest: SHA-256 of the text, hexadecimal.
    """

    name: str
    text: str
    digest: str

    def fill(self, values: Mapping[str, str | Picture]) -> tuple[str | Picture, ...]:
        """Texts and pictures in order; what is filled in is not looked at for further places."""
        parts: list[str | Picture] = [""]
        for number, piece in enumerate(_PLACE.split(self.text)):
            value = values[piece] if number % 2 else piece
            if isinstance(value, str) and isinstance(parts[-1], str):
                parts[-1] += value
            else:
                parts.append(value)
        return tuple(part.strip() if isinstance(part, str) else part for part in parts if part)

    def fill_text(self, values: Mapping[str, str]) -> str:
        """``fill`` for a template without pictures."""
        return "".join(part for part in self.fill(values) if isinstance(part, str))


def load_templates(folder: str | os.PathLike[str] | None) -> dict[str, Template]:
    """The templates of each request, by name.

    Args:
      folder: with files of the names of the shipped ones; a file that is missing there is the shipped one. None for the
        shipped ones.

    Raises:
      UserError: no such folder, a ``.txt`` in it of another name, a file that cannot be read, or places that a template
        does not have or has to have.
    """
    own = Path(folder) if folder is not None else SHIPPED
    if not own.is_dir():
        raise UserError(f"--templates {own}: no such folder; copy the shipped one, {SHIPPED}")
    for file in sorted(own.glob("*.txt")):
        if file.stem not in _PLACES:
            raise UserError(f"{file}: not the name of a template; they are {', '.join(_PLACES)}")
    return {name: _load(own / f"{name}.txt", name) for name in _PLACES}


def _load(file: Path, name: str) -> Template:
    file = file if file.exists() else SHIPPED / file.name
    try:
        text = read_text(file)
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: cannot be read ({error}); save it as UTF-8") from error
    required, optional = _PLACES[name]
    found = set(_PLACE.findall(text))
    for place in found - {*required, *optional}:
        allowed = ", ".join(f"{{{known}}}" for known in (*required, *optional))
        raise UserError(f"{file}: {{{place}}} cannot be filled in; allowed are {allowed}")
    for place in set(required) - found:
        raise UserError(f"{file}: has no {{{place}}}; write it where it is to be filled in")
    return Template(name, text, hashlib.sha256(text.encode()).hexdigest())
