"""The sampler: prompts, pictures and thoughts in, trajectories, pictures and answers out.

sampler = load.sampler("runs/quickstart")
result = sampler(["three red circles"])[0]
result.turns[1].image   # uint8 [height, width, 3]
"""

import dataclasses
import textwrap
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image
from flax import nnx

from irg_jax.data import images
from irg_jax.data.layout import Vocabulary
from irg_jax.errors import UserError
from irg_jax.sampling import context, reasoning
from irg_jax.sampling.settings import Sampling
from irg_jax.sampling.steps import Setting, Weights
from irg_jax.sampling.text import Written


@dataclasses.dataclass(frozen=True)
class Turn:
    """A thought and the picture painted after it.

    Attributes:
      thinking: the text.
      complete: the model ended the text itself, or it was given; else it ran out of tokens.
      image: uint8 [height, width, 3].
      latents: of the picture, float32 [tokens, channels].
    """

    thinking: str
    complete: bool
    image: np.ndarray
    latents: np.ndarray


@dataclasses.dataclass(frozen=True)
class Reasoned:
    """What came of one prompt: one or two turns."""

    prompt: str
    seed: int
    index: int
    turns: tuple[Turn, ...]


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where the weights of a sampler came from."""

    checkpoint: str
    step: int


class Sampler:
    """Samples batches. Each kind of program is compiled once for a batch size and prompt bucket.

    Args:
      graphdef: the model's structure.
      params: its weights; they stay where they are.
      autoencoder: from pixels to latents and back.
      vocabulary: tokenizer and image transforms.
      settings: lengths, times, guidance.
      origin: written into what is sampled.

    Raises:
      UserError: pictures of a size that the autoencoder's transform never gives.

    Attributes:
      weights: of the model and the autoencoder.
      origin: as given.
    """

    def __init__(
        self,
        graphdef: nnx.GraphDef,
        params: nnx.State,
        *,
        autoencoder: Any,
        vocabulary: Vocabulary,
        settings: Sampling,
        origin: Origin,
    ):
        self.origin = origin
        self.weights = Weights(params, autoencoder)
        self._vocabulary = vocabulary
        self._settings = settings
        self._setting = Setting(graphdef, vocabulary, settings)
        transform = vocabulary.vae_transform
        size = tuple(side * transform.stride for side in self._setting.grid(transform))
        if size != settings.image_size:
            raise UserError(
                f"sampling.image_size: {settings.image_size} is no size of data.vae_image; the nearest is {size}"
            )

    def __call__(
        self,
        prompts: Sequence[str],
        *,
        seed: int = 0,
        indices: Sequence[int] | None = None,
        turns: int = 2,
        thoughts: Sequence[Sequence[str]] = (),
        noise: Sequence[np.ndarray] = (),
    ) -> list[Reasoned]:
        """Reasons about each prompt: thinks and paints, then looks, reflects and paints again.

        Args:
          prompts: one or more.
          seed: with ``indices`` decides everything random: the same (seed, index, prompt) gives the same trajectory
            whatever else is in the batch.
          indices: a number for each prompt, 0, 1, … if not given.
          turns: 1 or 2.
          thoughts: for the first turns, thoughts to use instead of the model's own, one a prompt.
          noise: for the first turns, where the flow starts instead of drawn noise, [B, tokens, channels].

        Raises:
          UserError: a text that is too long, or a number of turns that is not 1 or 2.
        """
        self.check(prompts, turns)
        indices = list(range(len(prompts))) if indices is None else list(indices)
        texts, keys = self._prompts(prompts), _keys(seed, indices)
        sizes = self._settings.max_thinking
        given: list[Written | None] = [None, None]
        for turn, (thought, size) in enumerate(zip(thoughts, sizes, strict=False)):
            given[turn] = self._texts(thought, size, f"sampling.max_thinking[{turn}]", size)
        starts = [jnp.asarray(start, jnp.float32) for start in noise] + [None, None]
        setting, weights = self._setting, self.weights
        thought1, latents, rope, past = reasoning.first_turn(setting, weights, texts, given[0], starts[0], keys)
        image = reasoning.decode(setting, weights, latents)
        finished = [(thought1, image, latents)]
        if turns == 2:
            patches = np.stack([self._vit_patches(PIL.Image.fromarray(x))[0] for x in np.asarray(image)])
            size = texts.ids.shape[1]
            thought2, latents, _ = reasoning.second_turn(
                setting, size, weights, past, rope, image, patches, given[1], starts[1], keys
            )
            finished.append((thought2, reasoning.decode(setting, weights, latents), latents))
        per_turn = [self._turns(*jax.device_get(turn)) for turn in finished]
        rows = zip(prompts, indices, zip(*per_turn, strict=True), strict=True)
        return [Reasoned(prompt, seed, index, tuple(row)) for prompt, index, row in rows]

    def paint(self, prompts: Sequence[str], *, seed: int = 0, indices: Sequence[int] | None = None) -> np.ndarray:
        """Paints each prompt without a thought, with the guidance of turn 1: uint8 [B, height, width, 3]."""
        self.check(prompts)
        keys = _keys(seed, range(len(prompts)) if indices is None else indices)
        return np.asarray(context.paint(self._setting, self.weights, self._prompts(prompts), keys))

    def edit(self, picture: PIL.Image.Image, prompt: str, *, seed: int = 0) -> np.ndarray:
        """Paints a picture anew as the prompt says, with the guidance of turn 2: uint8 [height, width, 3].

        The picture is brought to the autoencoder's size, which is also that of the result.
        """
        self.check([prompt])
        transform = self._vocabulary.vae_transform
        pixels = transform(picture.convert("RGB"))
        patches, vit_grid = self._vit_patches(PIL.Image.fromarray(pixels))
        texts, keys = self._prompts([prompt]), _keys(seed, [0])
        grid = (pixels.shape[0] // transform.stride, pixels.shape[1] // transform.stride)
        edited = context.edit(self._setting, grid, vit_grid, self.weights, pixels[None], patches[None], texts, keys)
        return np.asarray(edited)[0]

    def answer(self, picture: PIL.Image.Image, question: str, *, seed: int = 0) -> str:
        """Answers a question about a picture, in at most ``sampling.max_thinking[0]`` tokens."""
        self.check([question])
        patches, grid = self._vit_patches(picture.convert("RGB"))
        texts, keys = self._prompts([question]), _keys(seed, [0])
        written = context.answer(self._setting, grid, self.weights, patches[None], texts, keys)
        return self._decoded(jax.device_get(written))[0]

    def check(self, prompts: Sequence[str], turns: int = 2) -> None:
        """Refuses what cannot be sampled, before anything is.

        Raises:
          UserError: a prompt longer than ``sampling.max_prompt``, or a number of turns that is not 1 or 2.
        """
        if turns not in (1, 2):
            raise UserError(f"turns: {turns} is not 1 or 2, the turns that the model is trained for")
        self._prompts(prompts)

    def _prompts(self, prompts: Sequence[str]) -> Written:
        return self._texts(prompts, self._settings.max_prompt, "sampling.max_prompt")

    def _texts(self, texts: Sequence[str], most: int, key: str, size: int | None = None) -> Written:
        """Texts with bos and eos, padded to ``size`` tokens or to a whole bucket."""
        tokens, bucket = self._vocabulary.tokenizer, self._settings.prompt_bucket
        ids = [[tokens.bos, *tokens.encode(text), tokens.eos] for text in texts]
        for i, (text, row) in enumerate(zip(texts, ids, strict=True)):
            if len(row) > most:
                short = textwrap.shorten(text, 60)
                raise UserError(f"text {i} ({short!r}) has {len(row)} tokens, more than {key} {most}; shorten it")
        longest = size or -(-max(map(len, ids)) // bucket) * bucket
        padded = np.full((len(ids), longest), tokens.pad, np.int32)
        for out, row in zip(padded, ids, strict=True):
            out[: len(row)] = row
        lengths = np.array([len(row) for row in ids], np.int32)
        return Written(jnp.asarray(padded), jnp.asarray(lengths), jnp.ones(len(ids), bool))

    def _turns(self, written: Written, pictures: np.ndarray, latents: np.ndarray) -> list[Turn]:
        rows = zip(self._decoded(written), written.complete, pictures, latents, strict=True)
        return [Turn(text, bool(complete), picture, tokens) for text, complete, picture, tokens in rows]

    def _decoded(self, written: Written) -> list[str]:
        rows = zip(written.ids, written.length, strict=True)
        return [self._vocabulary.tokenizer.decode(ids[1 : n - 1]) for ids, n in rows]

    def _vit_patches(self, picture: PIL.Image.Image) -> tuple[np.ndarray, tuple[int, int]]:
        """uint8 [rows·columns, 3·patch²], and (rows, columns)."""
        transform = self._vocabulary.vit_transform
        pixels = transform(picture)
        grid = (pixels.shape[0] // transform.stride, pixels.shape[1] // transform.stride)
        return images.patchify(pixels, transform.stride), grid


def _keys(seed: int, indices: Sequence[int]) -> jax.Array:
    return jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), jnp.array(list(indices), jnp.uint32))
