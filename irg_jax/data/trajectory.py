"""The record of a data set: one two-turn reasoning trajectory."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Trajectory:
    """One interleaved reasoning trajectory (IRG, arXiv 2509.06945, section 3).

    Attributes:
      key: identifies the record in its data set, such as ``train/000123``; errors name it.
      prompt: what the user asked for.
      thinking1: the plan of the image, inside ``<think> … </think>``.
      image1: the weak image, as encoded image bytes (PNG, JPEG or WebP).
      thinking2: the reflection on ``image1``, inside ``<think> … </think>``, in the fixed four-part form.
      image2: the good image, as encoded image bytes.
      scene: what the prompt asks for, as JSON text, for worlds that can score an image against it; else empty.
    """

    key: str
    prompt: str
    thinking1: str
    image1: bytes
    thinking2: str
    image2: bytes
    scene: str = ""
