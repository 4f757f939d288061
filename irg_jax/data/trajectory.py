"""The record everything starts from: one two-turn reasoning trajectory."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Trajectory:
    """One interleaved reasoning trajectory (IRG, arXiv 2509.06945, section 3).

    Attributes:
      key: where the record stands, unique in its data set, such as ``train/000123``; errors name it.
      prompt: what the user asked for.
      thinking1: the plan of the picture, inside ``<think> … </think>``.
      image1: the weak picture, as encoded image bytes (PNG, JPEG or WebP).
      thinking2: the reflection on ``image1``, inside ``<think> … </think>``, in the fixed four-part form.
      image2: the good picture, as encoded image bytes.
      scene: what the prompt wants, as JSON text, for worlds that can check it; empty where nothing can.
    """

    key: str
    prompt: str
    thinking1: str
    image1: bytes
    thinking2: str
    image2: bytes
    scene: str = ""
