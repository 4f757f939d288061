"""Image 1 by the model that is to learn: batches through the sampler of ``irg_jax.generate``."""

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from irg_jax.checkpoints.weights import SavedStage, open_stage
from irg_jax.core.config.schema import parse_assignments
from irg_jax.core.errors import UserError
from irg_jax.curation.checks import Fault, check_picture
from irg_jax.curation.config import CurateConfig
from irg_jax.curation.steps import Draft, Rejected
from irg_jax.data import images
from irg_jax.endpoints.journal import Journal
from irg_jax.endpoints.pictures import Picture, PictureFolder
from irg_jax.sampling.config import SamplingConfig
from irg_jax.sampling.engine import load_sampler
from irg_jax.sampling.sampler import Sampler


class WeakImages:
    """Samples image 1 of drafts. The weights are loaded when the first one is needed.

    A record's image depends on its content, the checkpoint and the seed, not on the batch that it is sampled in.

    Args:
      config: of the command.
      pictures: where pictures are kept.
      journal: where they are found again.

    Raises:
      UserError: there is no such checkpoint.
    """

    def __init__(self, config: CurateConfig, pictures: PictureFolder, journal: Journal):
        self._config, self._own = config, config.image1
        self._pictures, self._journal = pictures, journal
        self._stage = open_checkpoint(config)
        self._changes = sampling_changes(config)
        self._sampler: Sampler | None = None

    def find(self, draft: Draft) -> bool:
        """Gives a draft its image if it was sampled before; whether it was. Raises Rejected where it is too small."""
        answer = self._journal.find(self._key(draft))
        if answer is None or answer.picture is None:
            return False
        self._give(draft, answer.picture)
        return True

    def sample(self, drafts: Sequence[Draft]) -> list[Draft | Rejected]:
        """Samples at most a batch: each draft with its image, or why it has none.

        Raises:
          UserError: the checkpoint cannot be loaded.
        """
        sampler = self._load()
        try:
            pixels = self._pixels(sampler, drafts)
        except UserError as error:
            # A text that is too long for the model is one record's fault.
            if len(drafts) == 1:
                return [Rejected("image1", Fault("not for the model", str(error)))]
            return [outcome for draft in drafts for outcome in self.sample([draft])]
        return [self._keep(draft, image) for draft, image in zip(drafts, pixels, strict=True)]

    def _load(self) -> Sampler:
        if self._sampler is None:
            logging.info("image1: loading %s", self._own.checkpoint)
            self._sampler = load_sampler(self._own.checkpoint, self._own.preset, step=self._stage.step, **self._changes)
        return self._sampler

    def _pixels(self, sampler: Sampler, drafts: Sequence[Draft]) -> list[np.ndarray]:
        # Filled up to one size, for which the program is compiled once.
        rows = [*drafts, *[drafts[-1]] * (self._own.batch_size - len(drafts))]
        prompts = [draft.entry.prompt for draft in rows]
        indices = [int(self._key(draft)[:8], 16) for draft in rows]
        if self._own.task == "text_to_image":
            sampled = list(sampler.text_to_image(prompts, seed=self._own.seed, indices=indices))
        else:
            thinking = [[draft.thinking1 for draft in rows]]
            outputs = sampler(prompts, seed=self._own.seed, indices=indices, turns=1, thinking=thinking)
            sampled = [output.turns[0].image for output in outputs]
        return sampled[: len(drafts)]

    def _keep(self, draft: Draft, image: np.ndarray) -> Draft | Rejected:
        picture = self._pictures.put(images.encode_png(image))
        self._journal.sampled(self._key(draft), picture)
        try:
            self._give(draft, picture)
        except Rejected as rejected:
            return rejected
        return draft

    def _give(self, draft: Draft, picture: Picture) -> None:
        fault = check_picture(picture, self._config.checks)
        if fault is not None:
            raise Rejected("image1", fault)
        draft.image1 = picture
        # Its folders are this machine's; the name of the run is enough to tell checkpoints apart.
        draft.teachers["image1"] = f"{Path(self._stage.folder).name} step {self._stage.step}"

    def _key(self, draft: Draft) -> str:
        own, thinking = self._own, draft.thinking1 if self._own.task == "turn1" else ""
        origin = [str(self._stage.folder), self._stage.step, own.preset, list(own.sampling), own.task, own.seed]
        return hashlib.sha256(json.dumps([origin, draft.entry.prompt, thinking]).encode()).hexdigest()


def open_checkpoint(config: CurateConfig) -> SavedStage:
    """Looks for the checkpoint of image 1, without its weights. Raises UserError where there is none."""
    return open_stage(config.image1.checkpoint, config.image1.step)


def sampling_changes(config: CurateConfig) -> dict[str, Any]:
    """The changes of the section sampling, by key. Raises UserError for one that cannot be."""
    return parse_assignments(SamplingConfig, config.image1.sampling, "sampling")
