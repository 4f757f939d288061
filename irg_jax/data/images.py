"""From encoded images to pixels at the sizes that the model sees."""

import contextlib
import dataclasses
import io
import re
from collections.abc import Iterator
from typing import Literal

import numpy as np
import PIL.ExifTags
import PIL.Image

from irg_jax.core.errors import UserError

# 256 MiB of RGB. Pillow warns above its own limit and refuses only above twice that; this limit always refuses.
MAX_DECODED_PIXELS = 256 * 1024 * 1024 // 3

# Pillow gives the memory of every image back to the system, which then has to clear it again for the next one: a sixth
# of the time of a row. So it keeps that of a few images.
PIL.Image.core.set_blocks_max(16)

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_METADATA = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
# What to do for each EXIF orientation; 1 is upright.
_ROTATIONS = {
    2: PIL.Image.Transpose.FLIP_LEFT_RIGHT,
    3: PIL.Image.Transpose.ROTATE_180,
    4: PIL.Image.Transpose.FLIP_TOP_BOTTOM,
    5: PIL.Image.Transpose.TRANSPOSE,
    6: PIL.Image.Transpose.ROTATE_270,
    7: PIL.Image.Transpose.TRANSVERSE,
    8: PIL.Image.Transpose.ROTATE_90,
}


@dataclasses.dataclass(frozen=True)
class ImageTransform:
    """How images are resized: long edge ≤ ``max_size``, short edge ≥ ``min_size``, both multiples of ``stride``.

    If both bounds cannot hold, that of the long edge does. Sizes are in pixels.

    Attributes:
      resize: ``exact``: Pillow's bicubic filter, as in the published code; ``simd``: the same filter several times
        faster, within two levels of it.
    """

    max_size: int
    min_size: int
    stride: int
    max_pixels: int = 14 * 14 * 9 * 1024
    resize: Literal["exact", "simd"] = "exact"

    def size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) after the transform."""
        width, height = self.sizes(np.array([[width, height]]))[0].tolist()
        return width, height

    def sizes(self, sizes: np.ndarray) -> np.ndarray:
        """``size`` of many images: int [N, 2] of (width, height) to int64 [N, 2]."""
        given = sizes.astype(np.float64)
        longest, shortest = given.max(1, keepdims=True), given.min(1, keepdims=True)
        scaled = self._scaled(given, np.maximum(np.minimum(self.max_size / longest, 1.0), self.min_size / shortest))
        pixels = scaled.prod(1, keepdims=True)
        scaled = np.where(pixels > self.max_pixels, self._scaled(scaled, self.max_pixels / pixels), scaled)
        longest = scaled.max(1, keepdims=True)
        scaled = np.where(longest > self.max_size, self._scaled(scaled, self.max_size / longest), scaled)
        return scaled.astype(np.int64)

    def grid(self, width: int, height: int) -> tuple[int, int]:
        """(rows, columns) of tokens of an image of this size, before the transform."""
        width, height = self.size(width, height)
        return height // self.stride, width // self.stride

    def grids(self, sizes: np.ndarray) -> np.ndarray:
        """``grid`` of many images: int [N, 2] of (width, height) to int64 [N, 2] of (rows, columns)."""
        codes = sizes[:, 0].astype(np.int64) << 32 | sizes[:, 1]
        distinct, places = np.unique(codes, return_inverse=True)
        both = np.stack([distinct >> 32, distinct & 0xFFFFFFFF], axis=1)
        return (self.sizes(both) // self.stride)[places.reshape(-1), ::-1]

    def __call__(self, image: PIL.Image.Image) -> np.ndarray:
        """Pixels after the transform, uint8 [height, width, 3]; bicubic."""
        size = self.size(*image.size)
        if size != image.size:
            image = (
                _resize_simd(image, size) if self.resize == "simd" else image.resize(size, PIL.Image.Resampling.BICUBIC)
            )
        return np.asarray(image)

    def _scaled(self, sizes: np.ndarray, scale: np.ndarray) -> np.ndarray:
        return np.maximum(self.stride, np.rint(np.rint(sizes * scale) / self.stride) * self.stride)


def decode(content: bytes, key: str) -> PIL.Image.Image:
    """The image in RGB: EXIF rotation applied, transparency composited on white, 16 bits per channel reduced to 8.

    Metadata other than the rotation is not read, however large or broken it is.

    Args:
      content: encoded bytes.
      key: names the record in errors.

    Raises:
      UserError: bytes that are not an image, are truncated, or would decode to more than ``MAX_DECODED_PIXELS``; or
        numbers that are not colours of 8 or 16 bits.
    """
    with _readable(content, key) as image:
        image.load()
        rotation = _ROTATIONS.get(_orientation(image))
        rgb = _to_rgb(image, key)
        return rgb if rotation is None else rgb.transpose(rotation)


def bare_reason(error: UserError) -> str:
    """What is wrong with an image, of an error of ``decode`` or ``encoded_size``: without its key and the remedy.

    Nor has it what is of this moment and of another reader: the same bytes have the same fault.
    """
    return re.sub(r" <_io\.BytesIO[^>]*>", "", str(error)).partition(": ")[2].partition(";")[0]


def encoded_size(content: bytes, key: str) -> tuple[int, int]:
    """(width, height) from the header, EXIF rotation taken into account.

    The pixels of a PNG are decoded only if it has EXIF data, which may follow them; those of a TIFF always, since
    Pillow turns it when it decodes it.

    Raises:
      UserError: bytes that are not an image, a truncated PNG, or one that would decode to more than
        ``MAX_DECODED_PIXELS``.
    """
    with _readable(content, key) as image:
        if image.format == "PNG":
            if b"IEND" not in content[-64:]:
                raise UserError(f"record {key}: a PNG image is truncated; repair or remove the record")
            if b"eXIf" in content:
                image.load()
        elif image.format == "TIFF":
            image.load()
        return (image.height, image.width) if _orientation(image) in (5, 6, 7, 8) else image.size


@contextlib.contextmanager
def _readable(content: bytes, key: str) -> Iterator[PIL.Image.Image]:
    """Opens the image; any error while it is used becomes a UserError that names the record."""
    try:
        image = PIL.Image.open(io.BytesIO(_without_metadata(content)))
        if image.width * image.height > MAX_DECODED_PIXELS:
            raise UserError(f"record {key}: an image of {image.width} x {image.height} pixels is too large; shrink it")
        yield image
    except UserError:
        raise
    except Exception as error:  # Pillow's decoders raise many kinds
        raise UserError(f"record {key}: an image cannot be decoded ({error}); repair or remove the record") from error


def _resize_simd(image: PIL.Image.Image, size: tuple[int, int]) -> PIL.Image.Image:
    try:
        import cykooz_resizer  # noqa: PLC0415  (an extra)
    except ImportError:
        raise UserError(
            "data.resize: simd needs a package that is missing; pip install 'irg-jax[simd]', or set it to exact"
        ) from None
    filter_kind = cykooz_resizer.ResizeAlg.convolution(cykooz_resizer.FilterType.catmull_rom)  # Pillow's bicubic
    resized = PIL.Image.new("RGB", size)
    cykooz_resizer.Resizer().resize_pil(image, resized, cykooz_resizer.ResizeOptions(filter_kind))
    return resized


def encode_png(pixels: np.ndarray) -> bytes:
    """uint8 [height, width, 3] as PNG bytes, with fast compression; the bytes of the shapes data set depend on it."""
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def patchify(pixels: np.ndarray, patch: int) -> np.ndarray:
    """[rows·patch, columns·patch, C] to [rows·columns, patch·patch·C], in row, column, channel order."""
    height, width, channels = pixels.shape
    blocks = pixels.reshape(height // patch, patch, width // patch, patch, channels)
    return blocks.transpose(0, 2, 1, 3, 4).reshape(-1, patch * patch * channels)


def _orientation(image: PIL.Image.Image) -> int:
    """The rotation that EXIF data ask for, 1 to 8; 1 where there are none, or none that can be read."""
    try:
        found = image.getexif().get(PIL.ExifTags.Base.Orientation)
    except Exception:  # noqa: BLE001  (the parser raises many kinds, none of which is about the pixels)
        return 1
    return found if isinstance(found, int) else 1


def _without_metadata(content: bytes) -> bytes:
    """A PNG without its texts and its colour profile, which Pillow reads and may refuse; other formats as they are."""
    if not content.startswith(_PNG):
        return content
    view = memoryview(content)  # most have none, and are not copied
    kept, start = [view[: len(_PNG)]], len(_PNG)
    while start + 12 <= len(content):
        length, kind = int.from_bytes(content[start : start + 4]), content[start + 4 : start + 8]
        end = start + 12 + length
        if kind not in _PNG_METADATA:
            kept.append(view[start:end])
        start = end
    kept.append(view[start:])
    return content if sum(map(len, kept)) == len(content) else b"".join(kept)


def _to_rgb(image: PIL.Image.Image, key: str) -> PIL.Image.Image:
    # A PNG has at most 16 bits, which older versions of Pillow give in the mode of 32.
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        image = PIL.Image.fromarray((np.asarray(image, np.float32) / 257.0).round().clip(0, 255).astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise UserError(
            f"record {key}: a {image.format} image of {'floats' if image.mode == 'F' else '32-bit integers'}, whose "
            "black and white nobody knows; write it with 8 or 16 bits per channel"
        )
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = PIL.Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = PIL.Image.alpha_composite(white, image)
    return image if image.mode == "RGB" else image.convert("RGB")
