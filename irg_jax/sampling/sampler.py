"""The sampler: two-turn reasoning, text to image, image editing and image understanding.

sampler = load_sampler("runs/quickstart")  # irg_jax.sampling.engine
result = sampler(["three red circles"])[0]
result.turns[1].image   # uint8 [height, width, 3]
"""

import copy
import dataclasses
import math
import textwrap
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import numpy as np
import PIL.Image
from flax import nnx
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from irg_jax.core.errors import ConfigError, UserError
from irg_jax.core.text import check_text
from irg_jax.data import images
from irg_jax.data.processor import Processor
from irg_jax.models.config import ModelConfig
from irg_jax.sampling import single_turn, two_turn
from irg_jax.sampling.config import SamplingConfig
from irg_jax.sampling.decode import TextBatch
from irg_jax.sampling.denoise import Denoised
from irg_jax.sampling.flow_step import FlowStep, euler_step
from irg_jax.sampling.primitives import ProgramSpec, Weights
from irg_jax.sharding.activations import ROWS
from irg_jax.sharding.batches import to_host
from irg_jax.sharding.rules import ShardingRules, state_shardings

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Turn:
    """A thinking text and the image generated after it.

    Attributes:
      thinking: the text.
      complete: the text ended with the model's own eos, or was given; if not, it was truncated.
      image: uint8 [height, width, 3].
      latents: of the image, float32 [tokens, channels].
      flow: what the sampler's flow step keeps of each step, a tree of arrays [steps, …]; None from ``euler_step``.
    """

    thinking: str
    complete: bool
    image: np.ndarray
    latents: np.ndarray
    flow: Any


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
    """Samples batches on a mesh. Each program is compiled once per batch size and prompt bucket.

    The rows of a batch are split over the mesh axes data and fsdp. A batch that does not divide is filled up with its
    last row, which takes no longer: the devices without a row of their own would wait.

    Args:
      graphdef: the model's structure.
      params: its weights; sharded over the mesh, if they are not yet.
      vae: from pixels to latents and back.
      processor: tokenizer and image transforms.
      config: lengths, timesteps, guidance.
      origin: recorded with each trajectory that is written.
      mesh: the devices (``sharding.mesh.make_mesh``), of this process or of all; all have to sample together then.
      flow_step: from one time point of an image to the next.

    Raises:
      ConfigError: ``config.image_size`` is not a multiple of a latent patch or beyond the position table, or a mesh
        axis does not divide a weight.

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
        mesh: Mesh,
        flow_step: FlowStep = euler_step,
    ):
        _check_image_size(config.image_size, nnx.merge(graphdef, params).config)  # before weights are moved
        self.origin = origin
        shardings = state_shardings(params, mesh, ShardingRules())
        self.weights = Weights(jax.device_put(params, shardings), jax.device_put(vae, NamedSharding(mesh, P())))
        self._mesh, self._row_shards = mesh, math.prod(mesh.shape[axis] for axis in ROWS)
        self._processor = processor
        self._config = config
        self._spec = ProgramSpec(graphdef, processor, config, flow_step)
        self._with_steps: dict[int, Sampler] = {}

    def with_steps(self, factor: int) -> "Sampler":
        """The sampler of the same weights that takes ``factor``, 1 or more, times as many steps for every image."""
        if factor not in self._with_steps:  # made once, since each compiles programs of its own
            other = copy.copy(self)
            points = factor * (self._config.time_points - 1) + 1
            other._config = dataclasses.replace(self._config, time_points=points)
            other._spec = dataclasses.replace(self._spec, config=other._config)
            other._with_steps = {}
            self._with_steps[factor] = other
        return self._with_steps[factor]

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
        rows, tokenized, keys = self._inputs(prompts, seed, indices)
        sizes = self._config.max_thinking
        given: list[TextBatch | None] = [None, None]
        for turn, (texts, size) in enumerate(zip(thinking, sizes, strict=False)):
            texts = [texts[i] for i in rows]
            given[turn] = self._shard(self._tokenize(texts, size, f"sampling.max_thinking[{turn}]", size))
        initial = [self._shard(np.asarray(x, np.float32)[rows]) for x in noise] + [None, None]
        thinking1, denoised, rope, cache = self._run(two_turn.first_turn, tokenized, given[0], initial[0], keys)
        image = self._run(two_turn.decode_latents, denoised.latents)
        finished = [(thinking1, image, denoised)]
        if turns == 2:
            batch = (cache, rope, image, given[1], initial[1], keys)
            thinking2, denoised, _ = self._run(two_turn.second_turn, *batch, prompt_size=tokenized.ids.shape[1])
            finished.append((thinking2, self._run(two_turn.decode_latents, denoised.latents), denoised))
        per_turn = [self._turns(*to_host(turn, self._mesh)) for turn in finished]
        per_prompt = zip(prompts, indices, zip(*per_turn, strict=True), strict=False)  # without the rows that fill up
        return [ReasoningOutput(prompt, seed, index, tuple(turns)) for prompt, index, turns in per_prompt]

    def reflect(
        self,
        prompts: Sequence[str],
        thinking1: Sequence[str],
        images: Sequence[np.ndarray],
        *,
        seed: int = 0,
        indices: Sequence[int] | None = None,
    ) -> list[tuple[str, bool]]:
        """Thinking 2 about given first turns: what a call would write if it had thought and generated the same.

        Args:
          prompts: one or more.
          thinking1: for each prompt.
          images: image 1 for each prompt, uint8 [height, width, 3] of ``sampling.image_size``.
          seed: as for a call.
          indices: as for a call.

        Returns:
          for each prompt, thinking 2 and whether it is complete, see ``Turn``.

        Raises:
          UserError: a text that is too long, or an image of another size.
        """
        _, tokenized, keys, batch = self._given_first_turns(prompts, thinking1, images, seed, indices)
        written = to_host(self._run(two_turn.reflect, tokenized, *batch, keys), self._mesh)
        complete = [bool(ended) for ended in written.complete]
        return list(zip(self._detokenize(written), complete, strict=True))[: len(prompts)]

    def improve(
        self,
        prompts: Sequence[str],
        thinking1: Sequence[str],
        images: Sequence[np.ndarray],
        thinking2: Sequence[str],
        *,
        seed: int = 0,
        indices: Sequence[int] | None = None,
    ) -> np.ndarray:
        """Image 2 after given first turns and a given thinking 2: what a call would generate after the same.

        Args:
          prompts: one or more.
          thinking1: for each prompt.
          images: image 1 for each prompt, uint8 [height, width, 3] of ``sampling.image_size``.
          thinking2: for each prompt.
          seed: as for a call.
          indices: as for a call.

        Returns:
          uint8 [B, height, width, 3].

        Raises:
          UserError: a text that is too long, or an image of another size.
        """
        rows, tokenized, keys, (thinking, given) = self._given_first_turns(prompts, thinking1, images, seed, indices)
        size = self._config.max_thinking[1]
        second = self._shard(self._tokenize([thinking2[i] for i in rows], size, "sampling.max_thinking[1]", size))
        rope, cache = self._run(two_turn.given_first_turn, tokenized, thinking)
        batch = (cache, rope, given, second, None, keys)
        _, denoised, _ = self._run(two_turn.second_turn, *batch, prompt_size=tokenized.ids.shape[1])
        pixels = to_host(self._run(two_turn.decode_latents, denoised.latents), self._mesh)
        return np.asarray(pixels)[: len(prompts)]

    def _given_first_turns(
        self,
        prompts: Sequence[str],
        thinking1: Sequence[str],
        images: Sequence[np.ndarray],
        seed: int,
        indices: Sequence[int] | None,
    ) -> tuple[list[int], TextBatch, jax.Array, tuple[TextBatch, Any]]:
        """As ``_inputs``, with thinking 1 and image 1 of each row."""
        self.check(prompts)
        shape = (*self._config.image_size, 3)
        for i, image in enumerate(images):
            if image.shape != shape:
                raise UserError(f"image {i} has the shape {image.shape}, sampled ones have {shape}; give it that size")
        rows, tokenized, keys = self._inputs(prompts, seed, range(len(prompts)) if indices is None else indices)
        size = self._config.max_thinking[0]
        thinking = self._tokenize([thinking1[i] for i in rows], size, "sampling.max_thinking[0]", size)
        return rows, tokenized, keys, self._shard((thinking, np.stack(images)[rows]))

    def fits(self, prompt: str, *thinking: str) -> bool:
        """Whether no text is longer than two-turn sampling may have it: ``reflect`` and ``improve`` take them all.

        Args:
          prompt: of one sample.
          thinking: its thinking 1, or thinking 1 and thinking 2.
        """
        try:
            self._tokenize_prompts([prompt])
            for text, size in zip(thinking, self._config.max_thinking, strict=False):
                self._tokenize([text], size, "sampling.max_thinking")
        except UserError:
            return False
        return True

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
        indices = range(len(prompts)) if indices is None else indices
        _, tokenized, keys = self._inputs(prompts, seed, indices)
        return np.asarray(self._run(single_turn.text_to_image, tokenized, keys))[: len(prompts)]

    def edit(self, images: Sequence[PIL.Image.Image], prompt: str, *, seed: int = 0) -> np.ndarray:
        """Edits images as the prompt says, with the guidance of turn 2: uint8 [height, width, 3].

        Args:
          images: one or more, in the order in which the model sees them. Each is resized by the VAE's image transform;
            the result has the size that the last one then has, as in the released code.
          prompt: what to change.
          seed: as for a call.

        Raises:
          UserError: a prompt that is too long, or no list of images.
        """
        self.check([prompt])
        _check_images(images)
        transform = self._processor.vae_transform
        pixels = [transform(image.convert("RGB")) for image in images]
        patches, vit_grids = self._vit_patches([PIL.Image.fromarray(x) for x in pixels])
        rows, tokenized, keys = self._inputs([prompt], seed, [0])
        grids = tuple((x.shape[0] // transform.stride, x.shape[1] // transform.stride) for x in pixels)
        batch = ([x[None][rows] for x in pixels], [x[None][rows] for x in patches])
        return np.asarray(
            self._run(single_turn.edit, *self._shard(batch), tokenized, keys, grids=grids, vit_grids=vit_grids)
        )[0]

    def answer(self, images: Sequence[PIL.Image.Image], question: str, *, seed: int = 0) -> str:
        """Answers a question about images, in at most ``sampling.max_thinking[0]`` tokens.

        Args:
          images: one or more, in the order in which the model sees them.
          question: about them.
          seed: as for a call.

        Raises:
          UserError: a question that is too long, or no list of images.
        """
        self.check([question])
        _check_images(images)
        patches, grids = self._vit_patches([image.convert("RGB") for image in images])
        rows, tokenized, keys = self._inputs([question], seed, [0])
        batch = self._shard([x[None][rows] for x in patches])
        answers = self._run(single_turn.answer, batch, tokenized, keys, vit_grids=grids)
        return self._detokenize(jax.device_get(answers))[0]

    def check(self, prompts: Sequence[str], turns: int = 2) -> None:
        """Checks a request before anything is sampled.

        Raises:
          UserError: a prompt longer than ``sampling.max_prompt``, or a number of turns that is not 1 or 2.
        """
        if turns not in (1, 2):
            raise UserError(f"turns: {turns} is not 1 or 2; the model is trained for two turns")
        if isinstance(prompts, str) or not len(prompts):
            raise UserError(f"prompts: {prompts!r} is not a list of one or more texts; give [prompt]")
        self._tokenize_prompts(prompts)

    def _inputs(
        self, prompts: Sequence[str], seed: int, indices: Sequence[int]
    ) -> tuple[list[int], TextBatch, jax.Array]:
        """Which prompt is in each row of the batch that divides over the mesh; the prompts and the keys of the rows."""
        count = len(prompts)
        rows = [*range(count), *[count - 1] * (-count % self._row_shards)]
        tokenized = self._tokenize_prompts([prompts[i] for i in rows])
        tokenized, numbers = self._shard((tokenized, np.array([indices[i] for i in rows], np.uint32)))
        with jax.set_mesh(self._mesh):
            return rows, tokenized, _row_keys(seed, numbers)

    def _shard(self, batch: T) -> T:
        """Puts arrays on the mesh, their rows split over the devices."""
        return jax.device_put(batch, NamedSharding(self._mesh, P(ROWS)))

    def _run(self, program: Callable[..., Any], *batch: Any, **static: Any) -> Any:
        """Runs a program on the mesh."""
        with jax.set_mesh(self._mesh):
            return program(self._spec, self.weights, *batch, **static)

    def _tokenize_prompts(self, prompts: Sequence[str]) -> TextBatch:
        return self._tokenize(prompts, self._config.max_prompt, "sampling.max_prompt")

    def _tokenize(self, texts: Sequence[str], maximum: int, key: str, size: int | None = None) -> TextBatch:
        """Texts with bos and eos, padded to ``size`` tokens or to a multiple of ``prompt_bucket``."""
        tokenizer, bucket = self._processor.tokenizer, self._config.prompt_bucket
        for i, text in enumerate(texts):
            check_text(text, f"text {i}")
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
        return TextBatch(padded, lengths, np.ones(len(ids), bool))  # type: ignore[arg-type]  # on the host so far

    def _turns(self, thinking: TextBatch, pixels: np.ndarray, denoised: Denoised) -> list[Turn]:
        flows = [jax.tree.map(lambda x, row=row: x[:, row], denoised.flow) for row in range(len(pixels))]
        rows = zip(self._detokenize(thinking), thinking.complete, pixels, denoised.latents, flows, strict=True)
        return [Turn(text, bool(complete), *rest) for text, complete, *rest in rows]

    def _detokenize(self, texts: TextBatch) -> list[str]:
        rows = zip(texts.ids, texts.length, strict=True)
        return [self._processor.tokenizer.decode(ids[1 : n - 1]) for ids, n in rows]

    def _vit_patches(self, pictures: Sequence[PIL.Image.Image]) -> tuple[list[np.ndarray], tuple[tuple[int, int], ...]]:
        """Of each image: uint8 [rows·columns, 3·patch²], and (rows, columns)."""
        transform = self._processor.vit_transform
        pixels = [transform(picture) for picture in pictures]
        grids = tuple((x.shape[0] // transform.stride, x.shape[1] // transform.stride) for x in pixels)
        return [images.patchify(x, transform.stride) for x in pixels], grids


def _check_images(images: Sequence[PIL.Image.Image]) -> None:
    if isinstance(images, PIL.Image.Image) or not len(images):
        raise UserError(f"images: {images!r} is not a list of one or more images; give [image]")


def _check_image_size(size: tuple[int, int], model: ModelConfig) -> None:
    """Raises ConfigError where (height, width) is not one that the model has positions for."""
    stride, most = model.vae_stride, model.max_latent_size
    nearest = tuple(min(max(round(side / stride), 1), most) * stride for side in size)
    if tuple(size) != nearest:
        raise ConfigError(
            "sampling.image_size",
            f"{tuple(size)}: height and width must be multiples of {stride} from {stride} to {most * stride} pixels; "
            f"the nearest is {nearest}",
        )


@jax.jit
def _row_keys(seed: jax.Array, numbers: jax.Array) -> jax.Array:
    """A random key for each row, from its number. Under jit, since the rows may be on devices of other processes."""
    return jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), numbers)
