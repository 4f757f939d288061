"""The config of an experiment: one stage, or several followed by an evaluation."""

import dataclasses

from ml_collections import ConfigDict

from irg_jax.core.config.ranges import at_least
from irg_jax.core.config.schema import dataclass_from_mapping
from irg_jax.core.errors import check
from irg_jax.training.config import StageConfig, parse_stage
from irg_jax.training.vae_alone import VAEAloneConfig
from irg_jax.training.vit_alone import ViTAloneConfig

# The folders in which the VAE and the ViT are trained alone.
VAE, VIT = "vae", "vit"


@dataclasses.dataclass(frozen=True)
class EvaluateConfig:
    """What is generated for the report after the last stage.

    Attributes:
      dir: data set with the held-out records.
      prompts: number of prompts to sample two turns for, the first of the split.
      batch_size: prompts per call of the sampler.
      seed: of the samples.
      perception: number of weak pictures to reflect on, of the first records of the split; 0 for none.
      controls: number of samples whose second turn is repeated with one thing changed, see ``controls``; 0 for none.
    """

    dir: str
    prompts: int
    batch_size: int
    seed: int
    perception: int = 300
    controls: int = 0

    def __post_init__(self) -> None:
        at_least(self, 0, "perception", "controls")


@dataclasses.dataclass(frozen=True)
class ExperimentConfig:
    """Stages, run in alphabetical order of their names, then samples from the last one.

    Attributes:
      stages: by name; each trains in a folder of its name.
      evaluate: what is generated for the report.
      vit: how the first stage's ViT is trained alone before it, in the folder ``vit``; None where it is not.
      vae: how the VAE of all stages is trained alone before the ViT, in the folder ``vae``; None where it is not.
    """

    stages: dict[str, StageConfig]
    evaluate: EvaluateConfig
    vit: ViTAloneConfig | None = None
    vae: VAEAloneConfig | None = None

    def __post_init__(self) -> None:
        check(self.stages, "stages", "must hold at least one stage")
        for name, alone, what in ((VIT, self.vit, "ViT"), (VAE, self.vae, "VAE")):
            taken = f"is the folder of the {what} that is trained alone (config.{name}); choose another name"
            check(alone is None or name not in self.stages, f"stages.{name}", taken)
        # The first stage takes the VAE along with the weights that it starts from.
        check(self.vae is None or self.vit is not None, VAE, f"needs config.{VIT}, which hands it to the first stage")


def parse_config(config: ConfigDict) -> StageConfig | ExperimentConfig:
    """The typed config of an experiment where there are ``stages``, else of a single stage.

    Raises:
      ConfigError: an unknown or missing key or a wrong value, by its full key.
    """
    return dataclass_from_mapping(ExperimentConfig, config) if "stages" in config else parse_stage(config)
