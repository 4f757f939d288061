"""Whether a row can be learned from: its texts are texts, and its images can be decoded."""

import functools
import hashlib
import io
import os
import re
import warnings

import PIL.Image

from irg_jax.core.errors import UserError
from irg_jax.core.text import check_text
from irg_jax.data import images
from irg_jax.data.importing.row import Row

_REMEMBERED = 1 << 20  # images, by their hash: the published modes repeat them
_FORMATS = {"JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"), "MPO": (".jpg", ".jpeg"), "TIFF": (".tif", ".tiff")}
_checked: dict[bytes, None] = {}


def check_row(row: Row, max_text: int) -> None:
    """Checks all fields of a row; every image is decoded, once if it repeats.

    Raises:
      UserError: an empty or overlong text, one that is no text, or an image that cannot be decoded or is animated.
    """
    for name, value in row.fields.items():
        if isinstance(value, bytes):
            _check_image(value, name)
        else:
            _check_length(value, name, max_text)
    if row.question:
        _check_length(row.question, "the user's text", max_text)
    for name in ("key", "source", "licence", "teachers", "scene"):
        check_text(getattr(row, name), name)


def reason(error: Exception, key: str = "") -> str:
    """What an error says about a row, without the row's name, which is told beside it, and without advice."""
    text = re.sub(rf"^record (?:{re.escape(key)}|image1|image2): ", "", str(error))
    return " ".join(re.sub(r"; (?:repair or )?remove the (?:row|record)$", "", text).split())


def has_other_format(name: str, content: bytes) -> bool:
    """Whether a file's name says that it is of another format than it is; False where that cannot be told."""
    try:
        with PIL.Image.open(io.BytesIO(content)) as image:
            found = image.format or ""
    except Exception:  # noqa: BLE001  (check_row says what is wrong with it)
        return False
    ending = os.path.splitext(name)[1].lower()
    return ending in _endings() and ending not in _FORMATS.get(found, (f".{found.lower()}",))


@functools.cache
def _endings() -> frozenset[str]:
    return frozenset(PIL.Image.registered_extensions())


def _check_length(text: str, name: str, max_text: int) -> None:
    check_text(text, name)
    if not text.strip():
        raise UserError(f"{name} is empty")
    if len(text) > max_text:
        raise UserError(f"{name} has {len(text)} characters, more than --max_text {max_text}")


def _check_image(content: bytes, name: str) -> None:
    digest = hashlib.blake2b(content, digest_size=16).digest()
    if digest in _checked:
        return
    try:
        with warnings.catch_warnings():
            # Pillow warns of images that are then refused, or are just below what is refused.
            warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)
            image = images.decode(content, name)
    except UserError as error:
        raise UserError(f"{name}: {reason(error)}") from error
    if 0 in image.size:
        raise UserError(f"{name}: an image of {image.width} x {image.height} pixels")
    frames = _frames(content)
    if frames > 1:
        raise UserError(f"{name}: is animated, {frames} frames, and nobody knows which one is meant")
    if len(_checked) >= _REMEMBERED:
        _checked.clear()
    _checked[digest] = None


def _frames(content: bytes) -> int:
    try:
        with PIL.Image.open(io.BytesIO(content)) as image:
            # A phone's JPEG may carry a second, smaller image in the format MPO: it is one picture all the same.
            return 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    except Exception:  # noqa: BLE001  (metadata that Pillow refuses, which decoding does without)
        return 1
