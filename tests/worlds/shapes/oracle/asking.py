"""Questions as a client of the oracle would ask them."""

import io

import numpy as np
import PIL.Image

from irg_jax.worlds.shapes.objects import PlacedObject
from irg_jax.worlds.shapes.oracle.protocol import Question
from tests.worlds.shapes.drawing import good

RED_CIRCLE_AND_BLUE_SQUARE = good(
    [PlacedObject("red", "circle", "northwest"), PlacedObject("blue", "square", "northeast")]
)


def encode(pixels: np.ndarray, form: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, form, **options)
    return buffer.getvalue()


def chat(text: str, *pictures: np.ndarray | bytes, **body: object) -> Question:
    shown = tuple(picture if isinstance(picture, bytes) else encode(picture) for picture in pictures)
    return Question("chat", text, shown, {"model": "m", **body})
