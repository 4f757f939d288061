"""The gallery as one image, for a README or a message."""

import re
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from irg_jax.reporting.gallery import ScoredSample
from irg_jax.reporting.load import Turn
from irg_jax.reporting.scoring import SampleScore

# Pixels, but for the number of lines.
_IMAGE_SIDE = 168
_GAP = 20
_LINE_HEIGHT = 18
_MAX_LINES = 11
_PAPER, _INK, _SOFT, _RULE = "#ffffff", "#1b1d21", "#5c6370", "#e1e2dd"
_TURN1, _TURN2, _GOOD, _BAD = "#b45309", "#1d4ed8", "#15803d", "#b91c1c"
_COLUMNS = (
    ("prompt", 190, _INK),
    ("thinking 1", 220, _TURN1),
    ("image 1", _IMAGE_SIDE, _TURN1),
    ("thinking 2", 440, _TURN2),
    ("image 2", _IMAGE_SIDE, _TURN2),
)


def draw(rows: Sequence[ScoredSample]) -> Image.Image:
    """A sheet with one row per sample: prompt, thinking 1, image 1, thinking 2, image 2."""
    width = sum(width for _, width, _ in _COLUMNS) + _GAP * (len(_COLUMNS) + 1)
    row_height = _IMAGE_SIDE + 24 + 2 * _GAP
    sheet = Image.new("RGB", (width, 48 + row_height * len(rows)), _PAPER)
    pen = ImageDraw.Draw(sheet)
    lefts = [_GAP + sum(width + _GAP for _, width, _ in _COLUMNS[:i]) for i in range(len(_COLUMNS))]
    for left, (name, _, color) in zip(lefts, _COLUMNS, strict=True):
        pen.text((left, 16), name, color, _font(16))
    for number, (sample, score) in enumerate(rows):
        top = 48 + number * row_height
        pen.line((_GAP, top, width - _GAP, top), _RULE)
        top += _GAP
        _draw_text(pen, (lefts[0], top), _COLUMNS[0][1], sample.prompt, _font(15))
        for turn, column in ((0, 1), (1, 3)):
            _draw_text(pen, (lefts[column], top), _COLUMNS[column][1], _plain_text(sample.turns[turn]), _font(14))
            sheet.paste(_fit(sample.turns[turn].image), (lefts[column + 1], top))
            _draw_result(pen, (lefts[column + 1], top + _IMAGE_SIDE + 6), score, turn)
    return sheet


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    # The font that Pillow ships, so that the sheet looks the same on every machine.
    return ImageFont.load_default(size)


def _fit(image: Image.Image) -> Image.Image:
    method = Image.Resampling.NEAREST if max(image.size) < _IMAGE_SIDE else Image.Resampling.LANCZOS
    scale = _IMAGE_SIDE / max(image.size)
    return image.resize((round(image.width * scale), round(image.height * scale)), method)


def _plain_text(turn: Turn) -> str:
    return re.sub(r"</?think>", "", turn.thinking).strip()


def _draw_text(
    pen: ImageDraw.ImageDraw,
    position: tuple[int, int],
    width: int,
    text: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    lines = [
        (line, part.startswith("#")) for part in text.splitlines() for line in _wrap(part.lstrip("# "), width, font)
    ]
    if len(lines) > _MAX_LINES:
        lines = [*lines[: _MAX_LINES - 1], ("…", False)]
    for number, (line, heading) in enumerate(lines):
        pen.text((position[0], position[1] + number * _LINE_HEIGHT), line, _SOFT if heading else _INK, font)


def _wrap(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _draw_result(pen: ImageDraw.ImageDraw, position: tuple[int, int], score: SampleScore | None, turn: int) -> None:
    if score is not None:
        correct = score.turns[turn].correct
        pen.text(position, "correct" if correct else "wrong", _GOOD if correct else _BAD, _font(14))
