"""From encoded images to pixels: the published sizes, every kind of file, and errors that name a corrupt one."""

import io
import json
import struct
import threading
import warnings
import zlib

import numpy as np
import PIL.Image
import PIL.PngImagePlugin
import pytest

from irg_jax.core.errors import UserError
from irg_jax.data import images
from irg_jax.data.images import ImageTransform
from tests import tiny

SIZES = json.loads((tiny.BAGEL_TINY / "image_sizes.json").read_text())
TRANSFORMS = sorted({name[:-2] for name in SIZES["columns"] if name.count("_") == 4})


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


# --- sizes


@pytest.mark.parametrize("name", TRANSFORMS)
def test_sizes_equal_the_published_ones(name):
    max_size, min_size, stride = (int(x) for x in name.split("_")[1:])
    transform = ImageTransform(max_size, min_size, stride)
    column = SIZES["columns"].index(f"{name}_w")
    for row in SIZES["rows"]:
        assert transform.size(row[0], row[1]) == tuple(row[column : column + 2]), row[:2]


def test_all_published_transforms_are_covered():
    assert TRANSFORMS == ["vae_1024_512_16", "vit_518_224_14", "vit_980_224_14", "vit_980_378_14"]


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("kind", ["vae", "vit"])
def test_pixels_equal_the_published_ones(kind, number):
    transform = {"vae": ImageTransform(128, 32, 16), "vit": ImageTransform(140, 56, 14)}[kind]
    wanted = np.load(tiny.BAGEL_TINY / "image_transform.npz")[f"{kind}_{number}"]
    pixels = transform(images.decode((tiny.BAGEL_TINY / f"image{number}.png").read_bytes(), "k"))
    np.testing.assert_allclose(pixels.transpose(2, 0, 1) / 127.5 - 1, wanted, atol=1e-6)


def test_the_grid_is_the_pixel_size_over_the_stride():
    transform = ImageTransform(64, 16, 8)
    assert transform.grid(640, 320) == (4, 8)
    assert transform(PIL.Image.new("RGB", (640, 320))).shape == (32, 64, 3)


def test_patches_are_in_row_column_channel_order():
    pixels = np.arange(4 * 6 * 3).reshape(4, 6, 3)
    patches = images.patchify(pixels, 2)
    assert patches.shape == (6, 12)
    np.testing.assert_array_equal(patches[4], pixels[2:4, 2:4].reshape(-1))  # second row, second column


# --- kinds of files


def test_a_png_round_trip_keeps_every_pixel():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    np.testing.assert_array_equal(np.asarray(images.decode(images.encode_png(pixels), "k")), pixels)


def test_transparency_is_composited_on_white():
    pixels = np.zeros((1, 3, 4), np.uint8)
    pixels[0, :, 3] = (0, 51, 255)  # black, from invisible to solid
    decoded = np.asarray(images.decode(encoded(PIL.Image.fromarray(pixels)), "k"))
    np.testing.assert_array_equal(decoded[0], [[255] * 3, [204] * 3, [0] * 3])


def test_a_transparent_palette_colour_is_composited_on_white():
    palette = PIL.Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((1, 0), 1)
    decoded = np.asarray(images.decode(encoded(palette, transparency=1), "k"))
    np.testing.assert_array_equal(decoded[0], [[10, 20, 30], [255, 255, 255]])


def test_sixteen_bits_become_eight():
    grey = PIL.Image.fromarray(np.array([[0, 257 * 100, 65535]], np.uint16))
    decoded = np.asarray(images.decode(encoded(grey), "k"))
    np.testing.assert_array_equal(decoded[0], [[0] * 3, [100] * 3, [255] * 3])


@pytest.mark.parametrize("mode", ["L", "LA", "1", "CMYK"])
def test_any_colour_space_becomes_rgb(mode):
    decoded = images.decode(encoded(PIL.Image.new(mode, (4, 2)), "TIFF"), "k")
    assert (decoded.mode, decoded.size) == ("RGB", (4, 2))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(0, 11))
def test_exif_rotation_is_applied_and_read_from_the_header(kind, orientation):
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    content = encoded(PIL.Image.new("RGB", (40, 20)), kind, exif=exif)
    wanted = (20, 40) if orientation in (5, 6, 7, 8) else (40, 20)
    assert images.decode(content, "k").size == images.encoded_size(content, "k") == wanted


# --- corrupt files


def truncated(content):
    return content[: len(content) // 2]


TRUNCATED = [truncated(tiny.png()), truncated(encoded(PIL.Image.new("RGB", (64, 64)), "JPEG"))]


@pytest.mark.parametrize("content", [b"", b"not an image", *TRUNCATED])
def test_an_error_of_bytes_that_cannot_be_decoded_names_the_record(content):
    with pytest.raises(UserError, match="record train/000007: an image cannot be decoded .*repair or remove"):
        images.decode(content, "train/000007")


def test_a_flipped_byte_is_detected():
    content = bytearray(tiny.png())
    content[len(content) // 2] ^= 0xFF
    with pytest.raises(UserError, match="record k: an image cannot be decoded"):
        images.decode(bytes(content), "k")


def png_header(width, height):
    """A PNG whose header claims this size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"")))
    framed = (struct.pack(">I", len(x)) + name + x + struct.pack(">I", zlib.crc32(name + x)) for name, x in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("read", [images.decode, images.encoded_size])
def test_an_image_too_large_to_decode_is_refused_from_its_header(read):
    with pytest.raises(UserError, match="record k: an image of 9460 x 9460 pixels is too large; shrink it"):
        read(png_header(9460, 9460), "k")
    with pytest.raises(UserError, match="record k: .*900000000 pixels"):
        read(png_header(30_000, 30_000), "k")


def test_decoding_in_threads_leaves_the_warning_filters_alone():
    """Rows are built in threads, and Python's warning filters are global to the process."""
    before = list(warnings.filters)
    content = tiny.png()
    threads = [threading.Thread(target=lambda: [images.decode(content, "k") for _ in range(50)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before


def png_with(**options):
    return encoded(PIL.Image.new("RGB", (8, 6), "red"), "PNG", **options)


def long_texts():
    info = PIL.PngImagePlugin.PngInfo()
    info.add_text("workflow", "x" * 1_100_000, zip=True)
    info.add_itxt("prompt", "y" * 1_100_000, zip=True)
    info.add_text("plain", "z" * 2_000_000)
    return info


BAD_EXIF = b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\xff\xff" + b"\x01\x12\x00\x03"


@pytest.mark.parametrize(
    "content",
    [
        png_with(pnginfo=long_texts()),
        png_with(icc_profile=bytes(1_200_000)),
        png_with(exif=BAD_EXIF),
        encoded(PIL.Image.new("RGB", (8, 6), "red"), "JPEG", exif=BAD_EXIF),
        encoded(PIL.Image.new("RGB", (8, 6), "red"), "JPEG", icc_profile=bytes(200_000)),
        encoded(PIL.Image.new("RGB", (8, 6), "red"), "WEBP", exif=BAD_EXIF, lossless=True),
        encoded(PIL.Image.new("RGB", (8, 6), "red"), "WEBP", icc_profile=bytes(1_200_000), lossless=True),
    ],
    ids=["PNG texts", "PNG profile", "PNG EXIF", "JPEG EXIF", "JPEG profile", "WebP EXIF", "WebP profile"],
)
def test_metadata_never_decides_whether_an_image_can_be_read(content):
    assert images.encoded_size(content, "k") == (8, 6)
    assert np.abs(np.asarray(images.decode(content, "k"), int) - (255, 0, 0)).max() <= 2


@pytest.mark.parametrize(
    ("pixels", "what"),
    [(np.full((8, 8), 0.5, np.float32), "floats"), (np.full((8, 8), 128, np.int32), "32-bit integers")],
)
def test_an_image_whose_white_nobody_knows_is_refused(pixels, what):
    with pytest.raises(UserError, match=f"record k: a TIFF image of {what}.*8 or 16 bits"):
        images.decode(encoded(PIL.Image.fromarray(pixels), "TIFF"), "k")
