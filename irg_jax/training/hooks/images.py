"""Images for fixed prompts while training: what the model has learned, to look at."""

from pathlib import Path
from typing import Any

import jax
from flax import nnx
from jax.sharding import Mesh

from irg_jax.data.config import ProcessorConfig
from irg_jax.data.factory import make_processor
from irg_jax.models.lora import merge
from irg_jax.models.transformer import abstract_model
from irg_jax.sampling import output
from irg_jax.sampling.primitives import Weights
from irg_jax.sampling.sampler import Origin, Sampler
from irg_jax.sharding.rules import ShardingRules, state_shardings
from irg_jax.training.config import StageConfig
from irg_jax.training.state import FrozenParams
from irg_jax.training.writers import Writer


class PromptImages:
    """Samples two turns for each of ``validation.prompts``, always with the same random numbers.

    All processes sample together, on the mesh of training; the primary one writes.

    Args:
      config: of the stage.
      mesh: of the stage.
      frozen: the VAE, and the base weights of a LoRA run.
      workdir: folder of the stage; trajectories go into ``validation/STEP/PROMPT``.
      writer: gets the images too; None on all processes but the primary one.
    """

    def __init__(
        self, config: StageConfig, mesh: Mesh, frozen: FrozenParams, workdir: Path, writer: Writer | None
    ) -> None:
        self._config, self._mesh, self._frozen, self._folder = config, mesh, frozen, workdir
        self._writer = writer
        self._sampler: Sampler | None = None
        dtype, lora = config.execution.dtype, config.lora

        def weights(ema: nnx.State, base: nnx.State) -> Any:
            merged = ema if lora is None else merge(base, ema, lora)
            return jax.tree.map(lambda x: x.astype(dtype), merged)

        shardings = state_shardings(abstract_model(config.model)[1], mesh, ShardingRules())
        self._weights = jax.jit(weights, out_shardings=shardings)

    def write(self, step: int, ema: nnx.State) -> None:
        """Samples with these weights.

        Raises:
          UserError: a prompt that is too long.
        """
        params = self._weights(ema, self._frozen.base)
        if self._sampler is None:
            self._sampler = self._make_sampler(params)
        self._sampler.weights = Weights(params, self._frozen.vae)
        prompts = list(self._config.validation.prompts)
        results = self._sampler(prompts, seed=self._config.seed)
        if self._writer is None:
            return
        origin, images = Origin(str(self._folder), step), {}
        for result in results:
            folder = self._folder / "validation" / f"{step:08d}" / f"{result.index:02d}"
            output.write(folder, result, origin)
            for number, turn in enumerate(result.turns, start=1):
                # TensorBoard's names have no spaces.
                images[f"validation/{result.index:02d} {result.prompt}/turn{number}".replace(" ", "_")] = turn.image
        self._writer.write_images(step, images)

    def _make_sampler(self, params: nnx.State) -> Sampler:
        config, execution = self._config, self._config.execution.on(jax.default_backend())
        processor = make_processor(
            ProcessorConfig(str(self._folder / "tokenizer"), config.data.vae_image, config.data.vit_image),
            config.model.geometry,
        )
        return Sampler(
            abstract_model(config.model, execution)[0],
            params,
            vae=self._frozen.vae,
            mesh=self._mesh,
            processor=processor,
            config=config.sampling,
            origin=Origin(str(self._folder), 0),
        )
