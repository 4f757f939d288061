"""The sampler: two-turn reasoning, text to image, image editing and image understanding.

sampler = load_sampler("runs/quickstart")  # irg_jax.sampling.engine
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

from irg_jax.core.errors import ConfigError, UserError
from irg_jax.data import images
from irg_jax.data.processor import Processor
from irg_jax.sampling import single_turn, two_turn
from irg_jax.sampling.config import SamplingConfig
from irg_jax.sampling.decode import TextBatch
from irg_jax.sampling.primitives import ProgramSpec, Weights


@dataclasses.dataclass(frozen=True)
class Turn:
    """A thinking text and the image generated after it.

    Attributes:
      thinking: the text.
      complete: the text ended with the model's own eos, or was given; if not, it was truncated.
      image: uint8 [height, width, 3].
      latents: of the image, float32 [tokens, channels].
    """

    thinking: str
    complete: bool
    image: np.ndarray
    latents: np.ndarray


@dataclasses.dataclass(frozen=True)
class ReasoningOutput:
    """The result for one prompt: one or two turns."""

    prompt: str
    seed: int
    index: int
    turns: tuple[Turn, ...]


@dataclasses.dataclass(frozen=True)
class Origin:
    """The checkpoint that the weights of a sampler come from, and its step."""

    checkpoint: str
    step: int


class Sampler:
    """Samples batches. Each program is compiled once per batch size and prompt bucket.

    Args:
      graphdef: the model's structure.
      params: its weights; they stay on their devices.
      vae: from pixels to latents and back.
      processor: tokenizer and image transforms.
      config: lengths, timesteps, guidance.
      origin: recorded with each trajectory that is written.

    Raises:
      UserError: ``config.image_size`` is not a size that the VAE's image transform returns.

    Attributes:
      weights: of the model and the VAE.
      origin: as given.
    """

    def __init__(
        self,
        graphdef: nnx.GraphDef,
        params: nnx.State,
        *,
        vae: Any,
        processor: Processor,
        config: SamplingConfig,
        origin: Origin,
    ):
        self.origin = origin
        self.weights = Weights(params, vae)
        self._processor = processor
        self._config = config
        self._spec = ProgramSpec(graphdef, processor, config)
        transform = processor.vae_transform
        size = tuple(side * transform.stride for side in self._spec.grid(transform))
        if size != config.image_size:
            raise ConfigError(
                "sampling.image_size", f"{config.image_size} is not a size of data.vae_image; the nearest is {size}"
            )

    def __call__(
        self,
        prompts: Sequence[str],
        *,
        seed: int = 0,
        indices: Sequence[int] | None = None,
        turns: int = 2,
        thinking: Sequence[Sequence[str]] = (),
        noise: Sequence[np.ndarray] = (),
    ) -> list[ReasoningOutput]:
        """Reasons about each prompt: thinks and generates an image, then reflects on it and generates a better one.

        Args:
          prompts: one or more.
          seed: everything random derives from it and ``indices``: the same (seed, index, prompt) gives the same
            trajectory whatever else is in the batch.
          indices: one number per prompt; 0, 1, … if not given.
          turns: 1 or 2.
          thinking: for the first turns, texts to use instead of decoding them, one per prompt.
          noise: for the first turns, where the flow starts instead of from random noise, [B, tokens, channels].

        Raises:
          UserError: a text that is too long, or a number of turns that is not 1 or 2.
        """
        self.check(prompts, turns)
        indices = list(range(len(prompts))) if indices is None else list(indices)
        tokenized, keys = self._tokenize_prompts(prompts), _keys(seed, indices)
        sizes = self._config.max_thinking
        given: list[TextBatch | None] = [None, None]
        for turn, (texts, size) in enumerate(zip(thinking, sizes, strict=False)):
            given[turn] = self._tokenize(texts, size, f"sampling.max_thinking[{turn}]", size)
        initial = [jnp.asarray(x, jnp.float32) for x in noise] + [None, None]
        spec, weights = self._spec, self.weights
        thinking1, latents, rope, cache = two_turn.first_turn(spec, weights, tokenized, given[0], initial[0], keys)
        image = two_turn.decode_latents(spec, weights, latents)
        finished = [(thinking1, image, latents)]
        if turns == 2:
            patches = np.stack([self._vit_patches(PIL.Image.fromarray(x))[0] for x in np.asarray(image)])
            prompt_size = tokenized.ids.shape[1]
            thinking2, latents, _ = two_turn.second_turn(
                spec, prompt_size, weights, cache, rope, image, patches, given[1], initial[1], keys
            )
            finished.append((thinking2, two_turn.decode_latents(spec, weights, latents), latents))
        per_turn = [self._turns(*jax.device_get(turn)) for turn in finished]
        rows = zip(prompts, indices, zip(*per_turn, strict=True), strict=True)
        return [ReasoningOutput(prompt, seed, index, tuple(row)) for prompt, index, row in rows]

    def text_to_image(
        self, prompts: Sequence[str], *, seed: int = 0, indices: Sequence[int] | None = None
    ) -> np.ndarray:
        """Generates an image for each prompt without thinking, with the guidance of turn 1.

        Args:
          prompts: one or more.
          seed: as for a call.
          indices: as for a call.

        Returns:
          uint8 [B, height, width, 3].

        Raises:
          UserError: a prompt that is too long.
        """
        self.check(prompts)
        keys = _keys(seed, range(len(prompts)) if indices is None else indices)
        return np.asarray(single_turn.text_to_image(self._spec, self.weights, self._tokenize_prompts(prompts), keys))

    def edit(self, image: PIL.Image.Image, prompt: str, *, seed: int = 0) -> np.ndarray:
        """Edits an image as the prompt says, with the guidance of turn 2: uint8 [height, width, 3].

        The image is resized by the VAE's image transform; the result has the same size.
        """
        self.check([prompt])
        transform = self._processor.vae_transform
        pixels = transform(image.convert("RGB"))
        patches, vit_grid = self._vit_patches(PIL.Image.fromarray(pixels))
        tokenized, keys = self._tokenize_prompts([prompt]), _keys(seed, [0])
        grid = (pixels.shape[0] // transform.stride, pixels.shape[1] // transform.stride)
        edited = single_turn.edit(
            self._spec, grid, vit_grid, self.weights, pixels[None], patches[None], tokenized, keys
        )
        return np.asarray(edited)[0]

    def answer(self, image: PIL.Image.Image, question: str, *, seed: int = 0) -> str:
        """Answers a question about an image, in at most ``sampling.max_thinking[0]`` tokens."""
        self.check([question])
        patches, grid = self._vit_patches(image.convert("RGB"))
        tokenized, keys = self._tokenize_prompts([question]), _keys(seed, [0])
        answers = single_turn.answer(self._spec, grid, self.weights, patches[None], tokenized, keys)
        return self._detokenize(jax.device_get(answers))[0]

    def check(self, prompts: Sequence[str], turns: int = 2) -> None:
        """Checks a request before anything is sampled.

        Raises:
          UserError: a prompt longer than ``sampling.max_prompt``, or a number of turns that is not 1 or 2.
        """
        if turns not in (1, 2):
            raise UserError(f"turns: {turns} is not 1 or 2; the model is trained for two turns")
        self._tokenize_prompts(prompts)

    def _tokenize_prompts(self, prompts: Sequence[str]) -> TextBatch:
        return self._tokenize(prompts, self._config.max_prompt, "sampling.max_prompt")

    def _tokenize(self, texts: Sequence[str], maximum: int, key: str, size: int | None = None) -> TextBatch:
        """Texts with bos and eos, padded to ``size`` tokens or to a multiple of ``prompt_bucket``."""
        tokenizer, bucket = self._processor.tokenizer, self._config.prompt_bucket
        ids = [[tokenizer.bos, *tokenizer.encode(text), tokenizer.eos] for text in texts]
        for i, (text, row) in enumerate(zip(texts, ids, strict=True)):
            if len(row) > maximum:
                short = textwrap.shorten(text, 60)
                raise UserError(f"text {i} ({short!r}) has {len(row)} tokens, more than {key} {maximum}; shorten it")
        padded_size = size or -(-max(map(len, ids)) // bucket) * bucket
        padded = np.full((len(ids), padded_size), tokenizer.pad, np.int32)
        for out, row in zip(padded, ids, strict=True):
            out[: len(row)] = row
        lengths = np.array([len(row) for row in ids], np.int32)
        return TextBatch(jnp.asarray(padded), jnp.asarray(lengths), jnp.ones(len(ids), bool))

    def _turns(self, thinking: TextBatch, pixels: np.ndarray, latents: np.ndarray) -> list[Turn]:
        rows = zip(self._detokenize(thinking), thinking.complete, pixels, latents, strict=True)
        return [Turn(text, bool(complete), image, tokens) for text, complete, image, tokens in rows]

    def _detokenize(self, texts: TextBatch) -> list[str]:
        rows = zip(texts.ids, texts.length, strict=True)
        return [self._processor.tokenizer.decode(ids[1 : n - 1]) for ids, n in rows]

    def _vit_patches(self, image: PIL.Image.Image) -> tuple[np.ndarray, tuple[int, int]]:
        """uint8 [rows·columns, 3·patch²], and (rows, columns)."""
        transform = self._processor.vit_transform
        pixels = transform(image)
        grid = (pixels.shape[0] // transform.stride, pixels.shape[1] // transform.stride)
        return images.patchify(pixels, transform.stride), grid


def _keys(seed: int, indices: Sequence[int]) -> jax.Array:
    return jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), jnp.array(list(indices), jnp.uint32))
