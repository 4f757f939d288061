"""The gallery as one picture, for a README or a message."""

import re
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from irg_jax.reporting.gallery import Judged
from irg_jax.reporting.load import Turn
from irg_jax.reporting.scoring import Verdict

_PICTURE = 168
_GAP = 20
_LINE = 18
_LINES = 11
_PAPER, _INK, _SOFT, _RULE = "#ffffff", "#1b1d21", "#5c6370", "#e1e2dd"
_TURN1, _TURN2, _GOOD, _BAD = "#b45309", "#1d4ed8", "#15803d", "#b91c1c"
_COLUMNS = (
    ("prompt", 190, _INK),
    ("thinking 1", 220, _TURN1),
    ("picture 1", _PICTURE, _TURN1),
    ("thinking 2", 440, _TURN2),
    ("picture 2", _PICTURE, _TURN2),
)


def draw(rows: Sequence[Judged]) -> Image.Image:
    """A sheet with one row a sample: prompt, thinking 1, picture 1, thinking 2, picture 2."""
    width = sum(width for _, width, _ in _COLUMNS) + _GAP * (len(_COLUMNS) + 1)
    row_height = _PICTURE + 24 + 2 * _GAP
    sheet = Image.new("RGB", (width, 48 + row_height * len(rows)), _PAPER)
    pen = ImageDraw.Draw(sheet)
    lefts = [_GAP + sum(width + _GAP for _, width, _ in _COLUMNS[:i]) for i in range(len(_COLUMNS))]
    for left, (name, _, color) in zip(lefts, _COLUMNS, strict=True):
        pen.text((left, 16), name, color, _font(16))
    for number, (sample, verdict) in enumerate(rows):
        top = 48 + number * row_height
        pen.line((_GAP, top, width - _GAP, top), _RULE)
        top += _GAP
        _write(pen, (lefts[0], top), _COLUMNS[0][1], sample.prompt, _font(15))
        for turn, column in ((0, 1), (1, 3)):
            _write(pen, (lefts[column], top), _COLUMNS[column][1], _plain(sample.turns[turn]), _font(14))
            picture = _fit(sample.turns[turn].picture)
            sheet.paste(picture, (lefts[column + 1], top))
            _say(pen, (lefts[column + 1], top + _PICTURE + 6), verdict, turn)
    return sheet


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    # The font that Pillow carries, so that the sheet looks the same on every machine.
    return ImageFont.load_default(size)


def _fit(picture: Image.Image) -> Image.Image:
    method = Image.Resampling.NEAREST if max(picture.size) < _PICTURE else Image.Resampling.LANCZOS
    scale = _PICTURE / max(picture.size)
    return picture.resize((round(picture.width * scale), round(picture.height * scale)), method)


def _plain(turn: Turn) -> str:
    return re.sub(r"</?think>", "", turn.thinking).strip()


def _write(
    pen: ImageDraw.ImageDraw,
    place: tuple[int, int],
    width: int,
    text: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    lines = [
        (line, part.startswith("#")) for part in text.splitlines() for line in _wrap(part.lstrip("# "), width, font)
    ]
    if len(lines) > _LINES:
        lines = [*lines[: _LINES - 1], ("…", False)]
    for number, (line, heading) in enumerate(lines):
        pen.text((place[0], place[1] + number * _LINE), line, _SOFT if heading else _INK, font)


def _wrap(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _say(pen: ImageDraw.ImageDraw, place: tuple[int, int], verdict: Verdict | None, turn: int) -> None:
    if verdict is not None:
        correct = verdict.turns[turn].correct
        pen.text(place, "correct" if correct else "wrong", _GOOD if correct else _BAD, _font(14))
