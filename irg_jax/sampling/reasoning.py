"""Interleaving reasoning: think, paint, look, reflect, paint again (IRG, arXiv 2509.06945, section 3.3).

sampler = load.sampler("runs/quickstart")
result = sampler(["three red circles"])[0]
result.turns[1].image   # uint8 [height, width, 3]
"""

import dataclasses
import functools
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
from irg_jax.models import autoencoder as ae
from irg_jax.models.attention import Spans
from irg_jax.models.transformer import Past, UnifiedTransformer
from irg_jax.sampling import cache, flow, text
from irg_jax.sampling.cache import FAR, Line
from irg_jax.sampling.settings import Sampling
from irg_jax.sampling.text import Written


@dataclasses.dataclass(frozen=True)
class Turn:
    """A thought and the picture painted after it.

    Attributes:
      thinking: the text.
      complete: the model ended the text itself; else it ran out of tokens.
      image: uint8 [height, width, 3].
    """

    thinking: str
    complete: bool
    image: np.ndarray


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
    """Two-turn sampling of batches of prompts. Compiled once for each batch size, prompt bucket and number of turns.

    Args:
      graphdef: the model's structure.
      params: its weights; they stay where they are.
      autoencoder: from pixels to latents and back.
      vocabulary: tokenizer and image transforms.
      settings: lengths, times, guidance.
      origin: written into what is sampled.
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
        self._params = params
        self._vocabulary = vocabulary
        self._settings = settings
        self._painter = _Painter(graphdef, autoencoder, vocabulary, settings)

    def __call__(
        self, prompts: Sequence[str], *, seed: int = 0, indices: Sequence[int] | None = None, turns: int = 2
    ) -> list[Reasoned]:
        """Reasons about each prompt.

        Args:
          prompts: one or more.
          seed: with ``indices`` decides everything random: the same (seed, index, prompt) gives the same trajectory
            whatever else is in the batch.
          indices: a number for each prompt, 0, 1, … if not given.
          turns: 1 or 2.

        Raises:
          UserError: a prompt longer than ``sampling.max_prompt``, or a number of turns that is not 1 or 2.
        """
        indices = list(range(len(prompts))) if indices is None else list(indices)
        self.check(prompts, turns)
        ids = [self._ids(prompt) for prompt in prompts]
        bucket = self._settings.prompt_bucket
        longest = -(-max(map(len, ids)) // bucket) * bucket
        padded = np.full((len(ids), longest), self._vocabulary.tokenizer.pad, np.int32)
        for row, prompt_ids in zip(padded, ids, strict=True):
            row[: len(prompt_ids)] = prompt_ids
        lengths = np.array([len(prompt_ids) for prompt_ids in ids], np.int32)
        keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), jnp.array(indices, jnp.uint32))
        painter, params = self._painter, self._params

        written, image, rope, past = painter.first_turn(params, padded, lengths, keys)
        finished = [(written, image)]
        if turns == 2:
            patches = np.stack([self._vit_patches(picture) for picture in np.asarray(image)])
            finished.append(painter.second_turn(params, past, rope, image, patches, keys, longest))
        per_turn = [self._turns(*jax.device_get(turn)) for turn in finished]
        rows = zip(prompts, indices, zip(*per_turn, strict=True), strict=True)
        return [Reasoned(prompt, seed, index, tuple(row)) for prompt, index, row in rows]

    def check(self, prompts: Sequence[str], turns: int) -> None:
        """Refuses what cannot be sampled, before anything is.

        Raises:
          UserError: a prompt longer than ``sampling.max_prompt``, or a number of turns that is not 1 or 2.
        """
        if turns not in (1, 2):
            raise UserError(f"turns: {turns} is not 1 or 2, the turns that the model is trained for")
        most = self._settings.max_prompt
        for i, prompt in enumerate(prompts):
            if len(self._ids(prompt)) > most:
                raise UserError(
                    f"prompt {i} ({textwrap.shorten(prompt, 60)!r}) has {len(self._ids(prompt))} tokens, more than "
                    f"sampling.max_prompt {most}; shorten it"
                )

    def _ids(self, prompt: str) -> list[int]:
        tokens = self._vocabulary.tokenizer
        return [tokens.bos, *tokens.encode(prompt), tokens.eos]

    def _turns(self, written: Written, pictures: np.ndarray) -> list[Turn]:
        decode = self._vocabulary.tokenizer.decode
        rows = zip(written.ids, written.length, written.complete, pictures, strict=True)
        return [Turn(decode(ids[1 : n - 1]), bool(complete), picture) for ids, n, complete, picture in rows]

    def _vit_patches(self, picture: np.ndarray) -> np.ndarray:
        transform = self._vocabulary.vit_transform
        return images.patchify(transform(PIL.Image.fromarray(picture)), transform.stride)


@dataclasses.dataclass(frozen=True, eq=False)
class _Painter:
    """The compiled halves of a trajectory; between them image 1 is brought to the ViT's size on the host."""

    graphdef: nnx.GraphDef
    autoencoder: Any
    vocabulary: Vocabulary
    settings: Sampling

    @functools.partial(jax.jit, static_argnums=0)
    def first_turn(
        self, params: nnx.State, prompts: jax.Array, lengths: jax.Array, keys: jax.Array
    ) -> tuple[Written, jax.Array, jax.Array, Past]:
        """Thinking 1 and image 1.

        Args:
          params: weights.
          prompts: ids with bos and eos, padded, int32 [B, P].
          lengths: tokens in use, int32 [B].
          keys: a random key a row.

        Returns:
          thinking 1, image 1 as uint8 [B, H, W, 3], the next rotary id, the cache.
        """
        model, line = nnx.merge(self.graphdef, params), self._line(prompts.shape[1])
        batch = prompts.shape[0]
        past, rope = cache.empty(model, batch, line.slots), jnp.zeros((batch,), jnp.int32)
        if line.system.size:
            system = jnp.broadcast_to(jnp.array(self._system_ids(), jnp.int32), (batch, line.system.size))
            past = self._read(model, past, line.system, system, jnp.full((batch,), line.system.size), rope, FAR)
            rope = rope + line.system.size
        null = (line.null, rope)
        past = self._read(model, past, line.prompt, prompts, lengths, rope, FAR)
        rope = rope + lengths
        written, past = self._write(model, past, line.thinking1, rope, keys, turn=0)
        rope = rope + written.length
        noise = self._noise(model, keys, turn=0)
        image = self._paint(model, past, noise, self.settings.turn1, (line.turn1, rope), null, None)
        return written, image, rope, past

    @functools.partial(jax.jit, static_argnums=(0, 7))
    def second_turn(
        self, params: nnx.State, past: Past, rope: jax.Array, image: jax.Array, patches: jax.Array, keys: jax.Array,
        prompt_size: int,
    ) -> tuple[Written, jax.Array]:  # fmt: skip
        """Looks at image 1, writes thinking 2 and paints image 2.

        Args:
          params: weights.
          past: the cache after turn 1.
          rope: the next rotary id, int32 [B].
          image: image 1, uint8 [B, H, W, 3].
          patches: its ViT patches, uint8 [B, X, 3·patch²].
          keys: a random key a row.
          prompt_size: padded length of the prompts.

        Returns:
          thinking 2, and image 2 as uint8 [B, H, W, 3].
        """
        model, line = nnx.merge(self.graphdef, params), self._line(prompt_size)
        settings = self.settings
        no_picture_rope = rope
        past = self._look(model, past, line, rope, image, patches)
        rope = rope + 2
        no_text = (line.no_reflection, rope)
        written, past = self._write(model, past, line.thinking2, rope, keys, turn=1)
        no_image = None
        if settings.turn2.image_scale > 1:
            copy = line.copy2
            past = self._read(model, past, copy, written.ids, written.length, no_picture_rope, line.no_image.end)
            no_image = (line.no_image, no_picture_rope + written.length)
        full = (line.turn2, rope + written.length)
        noise = self._noise(model, keys, turn=1)
        return written, self._paint(model, past, noise, settings.turn2, full, no_text, no_image)

    def _line(self, prompt: int) -> Line:
        settings = self.settings
        return Line.of(
            system=len(self._system_ids()),
            prompt=prompt,
            thinking1=settings.max_thinking[0],
            thinking2=settings.max_thinking[1],
            latents=int(np.prod(self._grid(self.vocabulary.vae_transform))),
            vit=int(np.prod(self._grid(self.vocabulary.vit_transform))),
        )

    def _grid(self, transform: images.ImageTransform) -> tuple[int, int]:
        height, width = self.settings.image_size
        return transform.grid(width, height)

    def _system_ids(self) -> list[int]:
        tokens, system = self.vocabulary.tokenizer, self.settings.system_prompt
        return [tokens.bos, *tokens.encode(system), tokens.eos] if system else []

    def _read(
        self, model: UnifiedTransformer, past: Past, region: cache.Region, ids: jax.Array, lengths: jax.Array,
        rope: jax.Array, end: int,
    ) -> Past:  # fmt: skip
        valid = jnp.arange(ids.shape[1]) < lengths[:, None]
        stream = cache.text_stream(model, ids, valid, region.position, rope, end)
        return cache.run(model, past, stream, cache.no_tokens(model, ids.shape[0]), region.slot)[1]

    def _write(
        self, model: UnifiedTransformer, past: Past, region: cache.Region, rope: jax.Array, keys: jax.Array, turn: int
    ) -> tuple[Written, Past]:
        keys = jax.vmap(jax.random.fold_in, (0, None))(keys, 2 * turn)
        tokens, temperature = self.vocabulary.tokenizer, self.settings.temperature
        return text.write(model, past, region, rope, keys, tokenizer=tokens, temperature=temperature)

    def _noise(self, model: UnifiedTransformer, keys: jax.Array, turn: int) -> jax.Array:
        keys = jax.vmap(jax.random.fold_in, (0, None))(keys, 2 * turn + 1)
        shape = (int(np.prod(self._grid(self.vocabulary.vae_transform))), model.config.token_channels)
        return jax.vmap(lambda key: jax.random.normal(key, shape))(keys)

    def _places(self, transform: images.ImageTransform, side: int) -> jax.Array:
        rows, columns = self._grid(transform)
        return (jnp.arange(rows)[:, None] * side + jnp.arange(columns)).reshape(-1)

    def _edges(self) -> tuple[int, int]:
        return self.vocabulary.tokenizer.vision_start, self.vocabulary.tokenizer.vision_end

    def _paint(
        self, model: UnifiedTransformer, past: Past, noise: jax.Array, guidance: Any, full: flow.Branch,
        no_text: flow.Branch, no_image: flow.Branch | None,
    ) -> jax.Array:  # fmt: skip
        config = model.config
        tokens = flow.paint(
            model, past, noise, full=full, no_text=no_text, no_image=no_image, guidance=guidance, edges=self._edges(),
            place=self._places(self.vocabulary.vae_transform, config.max_latent_size),
            points=self.settings.time_points, shift=self.settings.timestep_shift,
        )  # fmt: skip
        grid = tokens.reshape(len(tokens), *self._grid(self.vocabulary.vae_transform), -1)
        return ae.to_bytes(self.autoencoder.decode(ae.from_tokens(grid, config.latent_patch)))

    def _look(
        self, model: UnifiedTransformer, past: Past, line: Line, rope: jax.Array, image: jax.Array, patches: jax.Array
    ) -> Past:
        config, batch = model.config, image.shape[0]
        latents = ae.to_tokens(self.autoencoder.encode(ae.to_unit(image)), config.latent_patch)
        latents = latents.reshape(batch, -1, config.token_channels)
        place = jnp.broadcast_to(self._places(self.vocabulary.vae_transform, config.max_latent_size), latents.shape[:2])
        inner = model.embed_gen(latents, jnp.zeros(latents.shape[:2]), place)
        edges, gen = cache.block_streams(model, self._edges(), inner, line.vae, rope, FAR)
        past = cache.run(model, past, edges, gen, line.vae.slot)[1]
        count = patches.shape[1]
        place = jnp.broadcast_to(
            self._places(self.vocabulary.vit_transform, config.vit.patches_per_side), (batch, count)
        )
        everywhere = jnp.zeros((batch, count), jnp.int32)
        features = model.vit_features(ae.to_unit(patches), place, Spans(everywhere, everywhere, everywhere + 1))
        edges, seen = cache.block_streams(model, self._edges(), features, line.vit, rope + 1, FAR)
        return cache.run(model, past, cache.join(edges, seen), cache.no_tokens(model, batch), line.vit.slot)[1]
