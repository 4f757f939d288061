"""Shapes as a TensorFlow Datasets (TFDS) data set, written as ArrayRecord and without TensorFlow."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds

from irg_jax.data.importing.features import trajectory_features
from irg_jax.worlds.shapes.draw import SPLITS
from irg_jax.worlds.shapes.objects import SIZE
from irg_jax.worlds.shapes.scene import MANNERS
from irg_jax.worlds.shapes.world import make_trajectory


@dataclasses.dataclass(kw_only=True)
class ShapesConfig(tfds.core.BuilderConfig):
    """Which records a data set holds: the seed, how many of each split, the pictures' side, the prompts' manners."""

    name: str = ""
    seed: int = 0
    train: int = 6000
    held_out: int = 600
    size: int = SIZE
    manners: tuple[str, ...] = MANNERS[:1]

    def __post_init__(self) -> None:
        # TFDS refuses two different configs of the same name.
        counts = f"train{self.train}_held_out{self.held_out}"
        self.name = f"seed{self.seed}_{counts}_size{self.size}_{'_'.join(self.manners)}"


class Shapes(tfds.core.GeneratorBasedBuilder):
    """Two-turn trajectories of coloured shapes in the order of their index; images stay PNG bytes."""

    VERSION = tfds.core.Version("3.2.0")
    RELEASE_NOTES = {
        "3.0.0": "Free attributes, several faults, evidence first.",
        "3.1.0": "Wrong words and styles.",
        "3.2.0": "Words spelled letter by letter.",
    }

    def __init__(self, *, config: ShapesConfig | None = None, **kwargs: Any):
        super().__init__(config=config or ShapesConfig(), **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self, description=self.__doc__, features=trajectory_features(), disable_shuffling=True
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        del dl_manager  # nothing is downloaded
        return {split: self._generate_examples(split, getattr(self.builder_config, split)) for split in SPLITS}

    def _generate_examples(self, split: str, count: int) -> Iterator[tuple[int, dict[str, Any]]]:
        config = self.builder_config
        for index in range(count):
            values = dataclasses.asdict(make_trajectory(config.seed, split, index, config.size, config.manners))
            yield index, {name: values[name] for name in self.info.features}
