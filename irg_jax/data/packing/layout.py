"""From a conversation to token arrays: sequence order, RoPE position ids, attention spans, labels (arXiv 2505.14683).

Every token has a *position*, its index in the packed row, and as a key a *span* ``[start, end)`` of the query positions
that attend to it. Positions and spans are the whole attention mask:

* a text token: from itself to the end of its sample (causal);
* a clean image block (vision_start, patches, vision_end): from the block's first token to the end of the sample, so
  attention is bidirectional inside the block and everything later attends to it;
* a noised image block: from the block's first token to the block's end, so no token outside it attends to it.

There are two token streams, *und* (text, vision_start/end, ViT features) and *gen* (VAE latents); the positions
interleave them. All tokens of an image block share one RoPE position id (column ``rope``), as in BAGEL.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import PIL.Image

from irg_jax.core.errors import UserError
from irg_jax.core.geometry import TokenGeometry
from irg_jax.data import images
from irg_jax.data.conversation import Conversation, Text
from irg_jax.data.images import ImageTransform
from irg_jax.data.packing.segment import Kind, Segment, block_kinds
from irg_jax.data.processor import Processor


def segments(conversation: Conversation, processor: Processor) -> list[Segment]:
    """The segments of a conversation in order, from its contents. An index gives them from the lengths alone.

    Raises:
      UserError: an image that cannot be decoded.
    """
    found = []
    for index, part in enumerate(conversation.parts):
        if isinstance(part, Text):
            length = len(processor.tokenizer.encode(part.content))
            found.append(Segment(Kind.TEXT, part.need_loss, index, length))
            continue
        size = images.encoded_size(part.content, conversation.key)
        vae, vit = processor.vae_transform.grid(*size), processor.vit_transform.grid(*size)
        for kind in block_kinds(part.need_loss, part.need_vae, part.need_vit):
            found.append(Segment(kind, kind == Kind.NOISED, index, grid=vit if kind == Kind.VIT else vae))
    return found


class RowBuilder:
    """Packs samples, one after another, into one row of fixed budgets.

    Args:
      processor: tokenizer and image transforms.
      geometry: of the model, for the position tables.
    """

    def __init__(self, processor: Processor, geometry: TokenGeometry):
        self._processor = processor
        latents, patches = geometry.max_latent_size, geometry.vit_patches_per_side
        self._sides = {Kind.VIT: patches, Kind.CLEAN: latents, Kind.NOISED: latents}
        self._latent_patch = geometry.latent_patch
        self._position = 0
        self._und: list[dict] = []
        self._gen: list[dict] = []
        self._vit: list[dict] = []
        self._images: list[np.ndarray] = []
        self._counts = {"und": 0, "gen": 0, "vit": 0}

    def add(self, conversation: Conversation, parts: Sequence[Segment], dropped: int, mode: int) -> None:
        """Appends one sample.

        Args:
          conversation: the sample.
          parts: its segments, as they were planned.
          dropped: bit mask; bit i set leaves out segment i (condition dropout for classifier-free guidance).
          mode: index of its learning mode, for the losses per mode.

        Raises:
          UserError: an image that cannot be decoded, or a part that is not as long as planned.
        """
        kept = [segment for i, segment in enumerate(parts) if not dropped >> i & 1]
        end = self._position + sum(sum(segment.cost[:2]) for segment in kept)
        rope = 0
        decoded: dict[int, PIL.Image.Image] = {}
        for i, segment in enumerate(parts):
            if dropped >> i & 1:
                rope += segment.kind in (Kind.VIT, Kind.CLEAN)
                continue
            part = conversation.parts[segment.part]
            if isinstance(part, Text):
                ids = self._processor.tokenizer.encode(part.content)
                _check_planned(conversation.key, segment.part, "tokens", len(ids), segment.length)
                rope += self._add_text(ids, segment.learned, rope, end, mode)
                continue
            if segment.kind != Kind.VIT and part.moments is not None:
                picture, side = part.moments, self._latent_patch
                grid = picture.shape[0] // side, picture.shape[1] // side
            else:
                if segment.part not in decoded:
                    decoded[segment.part] = images.decode(part.content, conversation.key)
                transform = self._transform(segment.kind)
                picture, grid = transform(decoded[segment.part]), transform.grid(*decoded[segment.part].size)
            _check_planned(conversation.key, segment.part, "patches", grid, segment.grid)
            self._add_block(segment, picture, rope, end, mode)
            rope += segment.kind != Kind.NOISED

    def _transform(self, kind: Kind) -> ImageTransform:
        return self._processor.vit_transform if kind == Kind.VIT else self._processor.vae_transform

    def _add_text(self, text: Sequence[int], learned: bool, rope: int, end: int, mode: int) -> int:
        t = self._processor.tokenizer
        ids = np.array([t.bos, *text, t.eos], np.int32)
        n = len(ids)
        positions = np.arange(self._position, self._position + n, dtype=np.int32)
        label, weight = np.zeros(n, np.int32), np.zeros(n, np.float32)
        if learned:
            # The last token (eos) is input only: what follows it is not part of the text.
            label[:-1], weight[:-1] = ids[1:], 1.0
        self._append(
            self._und, "und", n, ids=ids, position=positions, rope=np.arange(rope, rope + n), start=positions,
            end=np.full(n, end), vit=np.full(n, -1), label=label, weight=weight, mode=np.full(n, mode),
        )  # fmt: skip
        self._position += n
        return n

    def _add_block(self, segment: Segment, picture: np.ndarray, rope: int, end: int, mode: int) -> None:
        t = self._processor.tokenizer
        rows, columns = segment.grid
        n, start = rows * columns, self._position
        noised = segment.kind == Kind.NOISED
        end = start + n + 2 if noised else end
        inner = np.arange(start + 1, start + 1 + n, dtype=np.int32)
        side = self._sides[segment.kind]
        edges = np.array([start, start + n + 1], np.int32)
        if segment.kind == Kind.VIT:
            first = self._counts["vit"]
            self._append(self._vit, "vit", n, **vit_columns(picture, self._processor.vit_transform.stride, side, first))
            ids = np.array([t.vision_start, *[t.pad] * n, t.vision_end], np.int32)
            vit = np.concatenate([[-1], np.arange(first, first + n), [-1]])
            positions = np.arange(start, start + n + 2, dtype=np.int32)
        else:
            ids, vit, positions = np.array([t.vision_start, t.vision_end], np.int32), np.full(2, -1), edges
            self._append(
                self._gen, "gen", n, position=inner, rope=np.full(n, rope), start=np.full(n, start),
                end=np.full(n, end), image=np.full(n, len(self._images)), patch_row=np.repeat(np.arange(rows), columns),
                patch_column=np.tile(np.arange(columns), rows), pos_id=_position_ids(rows, columns, side),
                noised=np.full(n, noised), mode=np.full(n, mode),
            )  # fmt: skip
            self._images.append(picture)
        m = len(ids)
        self._append(
            self._und, "und", m, ids=ids, position=positions, rope=np.full(m, rope), start=np.full(m, start),
            end=np.full(m, end), vit=vit, label=np.zeros(m), weight=np.zeros(m), mode=np.full(m, mode),
        )  # fmt: skip
        self._position += n + 2

    def _append(self, stream: list[dict], name: str, count: int, **columns: np.ndarray) -> None:
        stream.append(columns)
        self._counts[name] += count

    def row(self) -> "Row":
        """The row without padding."""
        return Row(
            und=_concatenated(self._und, _UND),
            gen=_concatenated(self._gen, _GEN),
            vit=_concatenated(self._vit, _VIT),
            patches=[segment["patches"] for segment in self._vit],
            images=self._images,
        )


def vit_columns(picture: np.ndarray, patch: int, side: int, first: int = 0) -> dict[str, np.ndarray]:
    """The columns of an image in the ViT's stream, see ``batch_spec``.

    Args:
      picture: uint8 [rows·patch, columns·patch, 3].
      patch: pixels per side of a patch.
      side: of the ViT's position table.
      first: index of its first patch in the stream.

    Returns:
      ``patches``, uint8 [rows·columns, 3·patch²]; the others are integers [rows·columns].
    """
    patches = images.patchify(picture, patch)
    n = len(patches)
    return {
        "patches": patches,
        "pos_id": _position_ids(picture.shape[0] // patch, picture.shape[1] // patch, side),
        "position": np.arange(first, first + n),
        "start": np.full(n, first),
        "end": np.full(n, first + n),
    }


def _position_ids(rows: int, columns: int, side: int) -> np.ndarray:
    """row·side + column of each token of an image, [rows·columns]."""
    return (np.arange(rows)[:, None] * side + np.arange(columns)).reshape(-1)


class Row(NamedTuple):
    """A packed row without padding: what a worker sends. Padding is half of a row's bytes.

    Attributes:
      und: its columns of the understanding stream, see ``batch_spec``, each [tokens].
      gen: likewise of the generation stream.
      vit: likewise of the ViT's, without ``patches``.
      patches: uint8 [tokens, values] of each ViT block.
      images: of each image for the generation stream its pixels, uint8 [height, width, 3], or its moments, float32
        [h, w, 2·channels].
    """

    und: dict[str, np.ndarray]
    gen: dict[str, np.ndarray]
    vit: dict[str, np.ndarray]
    patches: list[np.ndarray]
    images: list[np.ndarray]

    @property
    def nbytes(self) -> int:
        """Bytes of all its arrays."""
        columns = [*self.und.values(), *self.gen.values(), *self.vit.values()]
        return sum(array.nbytes for array in (*columns, *self.patches, *self.images))


@dataclasses.dataclass(frozen=True)
class Budgets:
    """The fixed size of a packed row.

    Attributes:
      und: understanding tokens (text, vision_start/end, ViT features).
      gen: generation tokens (VAE latents, clean or noised).
      vit: ViT patches.
      images: images that go through the VAE.
      image_size: (height, width) in pixels of the largest of those.
      vit_patch: values per ViT patch (patch · patch · 3).
      moments: (h, w, 2·channels) of the moments of the largest image, where images come as moments; None where they
        come as pixels.
    """

    und: int
    gen: int
    vit: int
    images: int
    image_size: tuple[int, int]
    vit_patch: int
    moments: tuple[int, int, int] | None = None

    @property
    def image_slot(self) -> tuple[str, tuple[int, int, int], np.dtype]:
        """Where a batch holds its images: name, shape of one, dtype."""
        if self.moments is None:
            return "images", (*self.image_size, 3), np.dtype(np.uint8)
        return "moments", self.moments, np.dtype(np.float32)

    @property
    def cost(self) -> tuple[int, int, int, int]:
        """The budgets in the order of ``Segment.cost``."""
        return self.und, self.gen, self.vit, self.images


_FAR = np.iinfo(np.int32).max  # no query attends to a key whose span starts here
_I, _F = np.int32, np.float32
# For each column its dtype and its value in padding: a key that no query attends to, a query without loss weight.
_UND = {
    "ids": (_I, 0), "position": (_I, -1), "rope": (_I, 0), "start": (_I, _FAR), "end": (_I, 0), "vit": (_I, -1),
    "label": (_I, 0), "weight": (_F, 0), "mode": (_I, -1),
}  # fmt: skip
_GEN = {
    "position": (_I, -1), "rope": (_I, 0), "start": (_I, _FAR), "end": (_I, 0), "image": (_I, 0), "patch_row": (_I, 0),
    "patch_column": (_I, 0), "pos_id": (_I, 0), "noised": (np.bool_, False), "mode": (_I, -1),
}  # fmt: skip
_VIT = {"pos_id": (_I, 0), "position": (_I, -1), "start": (_I, _FAR), "end": (_I, 0)}


def _concatenated(stream: list[dict], columns: dict) -> dict[str, np.ndarray]:
    return {
        name: np.concatenate([segment[name] for segment in stream]).astype(dtype) if stream else np.zeros(0, dtype)
        for name, (dtype, _) in columns.items()
    }


def stack(rows: Sequence[Row], budgets: Budgets) -> dict:
    """A batch of rows, padded to their budgets. Shapes and dtypes: see ``batch_spec``."""

    def padded(stream: str, budget: int, columns: dict) -> dict:
        out = {name: np.full((len(rows), budget), fill, dtype) for name, (dtype, fill) in columns.items()}
        for i, row in enumerate(rows):
            for name, values in getattr(row, stream).items():
                out[name][i, : len(values)] = values
        return out

    name, shape, dtype = budgets.image_slot
    batch: dict[str, Any] = {
        "und": padded("und", budgets.und, _UND),
        "gen": padded("gen", budgets.gen, _GEN),
        "vit": padded("vit", budgets.vit, _VIT),
        name: np.zeros((len(rows), budgets.images, *shape), dtype),
        "sizes": np.zeros((len(rows), budgets.images, 2), np.int32),
    }
    batch["vit"]["patches"] = patches = np.zeros((len(rows), budgets.vit, budgets.vit_patch), np.uint8)
    for i, row in enumerate(rows):
        first = 0
        for block in row.patches:
            patches[i, first : first + len(block)] = block
            first += len(block)
        for slot, size, image in zip(batch[name][i], batch["sizes"][i], row.images, strict=False):
            size[:] = np.array(image.shape[:2]) * (budgets.image_size[0] // shape[0])
            slot[: image.shape[0], : image.shape[1]] = image
    return batch


def batch_spec(rows: int, budgets: Budgets) -> dict:
    """Shapes and dtypes of a batch as a tree of (shape, dtype) leaves: what the step is compiled for.

    Streams ``und`` [rows, und], ``gen`` [rows, gen] and ``vit`` [rows, vit] hold one array per column; ``images`` is
    uint8 [rows, images, height, width, 3], ``sizes`` the (height, width) of pixels in use, int32 [rows, images, 2].
    Where images are encoded ahead, ``moments``, float32 [rows, images, h, w, 2·channels], is there instead of
    ``images``: zeros beside an image, whose latents mean nothing.
    """
    streams: dict[str, tuple[int, dict]] = {
        "und": (budgets.und, _UND),
        "gen": (budgets.gen, _GEN),
        "vit": (budgets.vit, _VIT),
    }
    spec: dict = {
        stream: {name: ((rows, n), np.dtype(dtype)) for name, (dtype, _) in columns.items()}
        for stream, (n, columns) in streams.items()
    }
    spec["vit"]["patches"] = ((rows, budgets.vit, budgets.vit_patch), np.dtype(np.uint8))
    name, shape, dtype = budgets.image_slot
    spec[name] = ((rows, budgets.images, *shape), dtype)
    spec["sizes"] = ((rows, budgets.images, 2), np.dtype(np.int32))
    return spec


def _check_planned(key: str, part: int, unit: str, found: Any, planned: Any) -> None:
    if found != planned:
        raise UserError(
            f"record {key}: part {part} has {found} {unit}, and {planned} were planned from the index; the data or the "
            "tokenizer have changed since: start the run again"
        )
