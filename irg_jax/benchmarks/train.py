"""The training step on rows of samples of the improving mode, as long as the published ones are in the mean.

A sample is a prompt (66 tokens), a thought (194), its picture (clean latents and ViT), a reflection (258) and the
noised latents of a better picture; the pictures are as large as the config's transforms allow. Every row holds as many
as its budgets do; where they hold none, texts are shorter.
"""

import functools
import resource
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from irg_jax.benchmarks.common import autoencoder, seconds, text, vocabulary
from irg_jax.data import images, layout, setup
from irg_jax.data.conversation import Conversation, Image, Text
from irg_jax.data.layout import RowBuilder
from irg_jax.errors import UserError
from irg_jax.models.config import ModelConfig
from irg_jax.training import losses, program, sharding
from irg_jax.training.flops import train_step_flops
from irg_jax.training.metrics import mfu
from irg_jax.training.state import Frozen, count_weights

PROMPT, THOUGHT, REFLECTION = 66, 194, 258

# Parts of these lengths, for rows that hold no whole sample.
_SHORTER = (1, 2, 4, 8)


def train(config: Any, model: ModelConfig, repeats: int) -> dict[str, Any]:
    """Seconds, tokens a second, FLOPs and memory of a step, and where its time goes.

    Raises:
      UserError: the budgets of a row do not hold one sample.
    """
    run = Run(config, model)
    first, whole = seconds(run.step, repeats)
    forward, backward = run.parts(repeats)
    counts = {name: float(run.metrics[f"tokens/{name}"]) for name in ("und", "gen", "vit")}
    flops = train_step_flops(model, **counts, pairs=float(run.metrics["pairs"]))
    share = mfu(flops, whole, jax.devices()[0].device_kind, run.mesh.size)
    return {
        "weights": count_weights(run.state.params),
        "devices": run.mesh.size,
        "attention": model.attention,
        "rows": config.data.batch_size,
        "tokens": run.tokens,
        "tokens, generation": int(counts["gen"]),
        "visible pairs": int(run.metrics["pairs"]),
        "first step, compiling, s": first,
        "step, s": whole,
        "of it forward, s": forward,
        "of it backward, s": backward,
        "of it update, s": whole - forward - backward,
        "tokens/s": run.tokens / whole,
        "model GFLOP": flops / 1e9,
        "model GFLOP/s": flops / whole / 1e9,
        **({} if share is None else {"MFU": share}),
        "peak memory, GiB": _peak_bytes() / 2**30,
    }


class Run:
    """A state with random weights, a batch on the devices, and the step that takes them on.

    Attributes:
      mesh: of the config.
      state: after the last step.
      metrics: of the last step.
    """

    def __init__(self, config: Any, model: ModelConfig):
        self.mesh = sharding.make_mesh(config.mesh)
        self._model = model
        self._batch = sharding.to_devices(make_batch(config, model), sharding.batch_shardings(self.mesh))
        self._shaped, self._step = program.build(config, model, self.mesh, modes=1)
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype, device=x.sharding), self._shaped.base)
        self._frozen = Frozen(sharding.everywhere(autoencoder(model), self.mesh), zeros)
        self.state, self.metrics = self._shaped.init(0), dict[str, Any]()

    def step(self) -> dict:
        """Takes one; gives its metrics."""
        self.state, self.metrics = self._step(self.state, self._frozen, self._batch)
        return self.metrics

    @property
    def tokens(self) -> int:
        """In the batch, padding not counted."""
        return int(self.metrics["tokens/und"] + self.metrics["tokens/gen"])

    def parts(self, repeats: int) -> tuple[float, float]:
        """Seconds of the forward pass alone, and of what the backward pass adds."""
        key = jax.random.key(0)
        draws = losses.draw_flow(key, self._batch, self._model, 1.0)
        posterior = losses.draw_posterior(key, self._batch, self._model)

        def loss(params: nnx.State, frozen: Frozen, batch: dict) -> jax.Array:
            model = nnx.merge(self._shaped.graphdef, params, frozen.base)
            x0 = losses.latent_tokens(frozen.autoencoder, self._model.latent_patch, batch, posterior)
            token = losses.token_losses(model, batch, x0, draws)
            return jnp.sum(token.ce) + jnp.sum(token.mse)

        def gradient_norm(*given: Any) -> jax.Array:
            return optax.tree.norm(jax.grad(loss)(*given))

        given = (self.state.params, self._frozen, self._batch)
        with jax.set_mesh(self.mesh):
            times = [seconds(functools.partial(jax.jit(f), *given), repeats)[1] for f in (loss, gradient_norm)]
        return times[0], times[1] - times[0]


def make_batch(config: Any, model: ModelConfig) -> dict:
    """``data.batch_size`` full rows, see ``layout.batch_spec``.

    Raises:
      UserError: the budgets of a row hold no sample, not even one with an eighth of the text.
    """
    words, budgets = vocabulary(config, model), setup.budgets(config.data, model)
    for shorter in _SHORTER:
        sample = _sample(config.data, shorter)
        parts = layout.segments(sample, words)
        cost = np.sum([part.cost for part in parts], axis=0)
        count = int(np.min(np.array(budgets.cost) // cost))
        if count:
            break
    else:
        raise UserError(
            f"data.budgets: a row holds no sample; one needs (und, gen, vit, images) {tuple(cost.tolist())}"
        )
    builder = RowBuilder(words, model.max_latent_size, model.vit.patches_per_side)
    for _ in range(count):
        builder.add(sample, parts, dropped=0, mode=0)
    row = builder.build(budgets)
    return jax.tree.map(lambda x: np.stack([x] * config.data.batch_size), row)


def _sample(data: Any, shorter: int) -> Conversation:
    size = data.vae_image.max_size
    picture = images.encode_png(np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8))
    prompt, *thoughts = (text(length // shorter) for length in (PROMPT, THOUGHT, REFLECTION))
    texts = (Text(prompt), *(Text(thought, need_loss=True) for thought in thoughts))
    clean, noised = Image(picture, need_vae=True, need_vit=True), Image(picture, need_loss=True)
    return Conversation("bench", (texts[0], texts[1], clean, texts[2], noised))


def _peak_bytes() -> int:
    """Of the first device; on a CPU of this process, which includes the compiler."""
    stats = jax.devices()[0].memory_stats() if jax.default_backend() != "cpu" else None
    if stats is not None:
        return stats["peak_bytes_in_use"]
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
