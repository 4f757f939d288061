"""The record of a data set: one two-turn reasoning trajectory."""

import dataclasses
import hashlib


@dataclasses.dataclass(frozen=True)
class Trajectory:
    """One interleaved reasoning trajectory (IRG, arXiv 2509.06945, section 3).

    Only the prompt has to be there. Other fields may be empty: a learning mode takes the records that have the fields
    that it needs, see ``modes.required_fields``.

    Attributes:
      key: identifies the record in its data set, such as ``train/000123``; errors name it.
      prompt: what the user asked for.
      thinking1: the plan of the image, inside ``<think> … </think>``.
      image1: the weak image, as encoded image bytes (PNG, JPEG or WebP).
      thinking2: the reflection on ``image1``, inside ``<think> … </think>``, in the fixed four-part form.
      image2: the good image, as encoded image bytes.
      source: where prompt and images come from.
      licence: of the images.
      teachers: names of the models that made the fields, as a JSON object from field to name.
      hash: of the contents, see ``content_hash``.
      scene: what the prompt asks for, as JSON text, for worlds that can score an image against it.
    """

    key: str
    prompt: str
    thinking1: str = ""
    image1: bytes = b""
    thinking2: str = ""
    image2: bytes = b""
    source: str = ""
    licence: str = ""
    teachers: str = ""
    hash: str = ""
    scene: str = ""


CONTENTS = ("prompt", "thinking1", "image1", "thinking2", "image2")  # the fields that are learned from
IMAGES = ("image1", "image2")


def content_hash(trajectory: Trajectory) -> str:
    """BLAKE2b of the fields in ``CONTENTS``, 32 hexadecimal digits: two records with the same one are the same."""
    digest = hashlib.blake2b(digest_size=16)
    for name in CONTENTS:
        value = getattr(trajectory, name)
        content = value if isinstance(value, bytes) else value.encode("utf-8")
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()
