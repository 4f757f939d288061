"""A start from parts: a Qwen2 language model, a SigLIP image encoder, a FLUX autoencoder.

Both experts begin as the language model. What no part has is fresh, as in a new model: q and k norms of one, the way
out to latents of zero, the layers in between random.
"""

import json
import logging
import math
import re
import shutil
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from irg_jax.bagel import autoencoder, check, companions, folder, names, tensor_file, to_orbax
from irg_jax.bagel import config as bagel_config
from irg_jax.bagel.names import Slot
from irg_jax.bagel.tensor_file import DTYPES, Tensor
from irg_jax.errors import UserError
from irg_jax.models.config import ModelConfig

_LLM, _VIT = "language_model.", "vit_model."
_PATCH = f"{names.VIT}.embeddings.patch_embedding.weight"
# What those checkpoints hold beyond the parts used here: pooling head, text tower, rotary tables of old files.
_UNUSED = re.compile(r"vision_model\.head\.|text_model\.|logit_(scale|bias)$|.*\.rotary_emb\.inv_freq$")


class Parts(NamedTuple):
    """Where the parts lie.

    Attributes:
      llm: folder of the language model.
      vit: folder or file of the image encoder, a file with its ``config.json`` beside it; None leaves it random.
      vae: file of the autoencoder; None leaves it to be added by hand.
    """

    llm: Path
    vit: Path | None
    vae: Path | None


class PartsSource:
    """The weights of a new model by their published keys.

    Args:
      llm: tensors of the language model, checked.
      vit: tensors of the image encoder, checked, or none.
      seed: of what is fresh.
    """

    def __init__(self, llm: Mapping[str, Tensor], vit: Mapping[str, Tensor], seed: int):
        self._tensors = {_LLM + key: tensor for key, tensor in llm.items()}
        self._tensors |= {_VIT + key: tensor for key, tensor in vit.items()}
        self._seed = seed
        self.not_finite: dict[str, None] = {}

    def dtype(self, slot: Slot) -> np.dtype:
        """The part's type; what is fresh has the language model's."""
        return DTYPES[self._tensors[self._key(slot) or names.EMBEDDING].dtype]

    def rows(self, slot: Slot, first: int, last: int) -> np.ndarray:
        """Rows of a weight; remembers the part's key in ``not_finite`` where they hold NaN or infinity."""
        key = self._key(slot)
        if key is None:
            return fresh(slot, self._seed)[first:last].astype(self.dtype(slot))
        values = tensor_file.read_rows(self._tensors[key], first, last)
        if not tensor_file.finite(values):
            self.not_finite[key.removeprefix(_LLM).removeprefix(_VIT)] = None
        if slot.key == _PATCH:
            # A convolution's [out, channel, row, column]; ours takes a patch in the order row, column, channel.
            values = values.transpose(0, 2, 3, 1).reshape(last - first, -1)
        return values

    def _key(self, slot: Slot) -> str | None:
        key = slot.key.replace(names.GENERATION, "")
        if key == names.HEAD and key not in self._tensors:
            key = names.EMBEDDING  # tied
        return key if key in self._tensors else None


def fresh(slot: Slot, seed: int) -> np.ndarray:
    """A weight as in a new model, in its published shape, float32; another one for each key."""
    kind = slot.row.ours.rpartition(".")[2]
    if kind == "scale":
        return np.ones(slot.shape, np.float32)
    if kind == "bias" or slot.row.ours == "llm2vae.kernel":
        return np.zeros(slot.shape, np.float32)
    key = jax.random.fold_in(jax.random.key(seed), zlib.crc32(slot.key.encode()))
    if kind == "kernel":
        return np.asarray(jax.nn.initializers.lecun_normal()(key, slot.shape[::-1], jnp.float32)).T
    return np.asarray(jax.nn.initializers.normal(0.02)(key, slot.shape, jnp.float32))


def convert(parts: Parts, target: Path, *, seed: int, overwrite: bool) -> None:
    """Makes a folder as ``to_orbax.convert`` does, from parts.

    Args:
      parts: where they lie.
      target: the folder to make.
      seed: of what no part has.
      overwrite: whether a target that is there may be replaced.

    Raises:
      UserError: all that is wrong with a part, or a target that cannot be made.
    """
    llm = folder.find_weights(parts.llm, ("model",)).tensors
    vit = _tensors(parts.vit) if parts.vit is not None else {}
    vae = autoencoder.config_of(parts.vae.parent) if parts.vae is not None else autoencoder.PUBLISHED
    model_section = bagel_config.model_section(
        bagel_config.read_qwen2(parts.llm),
        _vit_section(parts.vit, vit) if parts.vit is not None else bagel_config.VIT_SO400M,
        vae,
    )
    model = ModelConfig.from_mapping(model_section)
    _check(parts.llm, llm, _expected_llm(model), optional={"lm_head.weight"})
    if parts.vit is not None:
        _check(parts.vit, vit, _expected_vit(model), optional=_layers_beyond(vit, model))
    if parts.vae is not None:
        check.require_autoencoder(parts.vae, vae)
    words = bagel_config.check_tokenizer(parts.llm, model, bagel_config.read_json(parts.llm / "config.json"))
    if llm["model.embed_tokens.weight"].dtype == "F32":
        model_section["dtype"] = "float32"
    source = PartsSource(llm, vit, seed)
    given = [path for path in parts if path is not None]
    with folder.replacing(target, overwrite=overwrite, sources=given) as partial:
        beside = partial / companions.NAME
        folder.copy_tokenizer(parts.llm, beside)
        for name, values in bagel_config.documents(model, words).items():
            (beside / name).write_text(json.dumps(values, indent=1), encoding="utf-8")
        if parts.vae is not None:
            shutil.copyfile(parts.vae, beside / folder.AUTOENCODER)
        to_orbax.write(partial, target, model_section, source)
        if source.not_finite:
            problems = check.grouped((key, "holds NaN or infinity") for key in source.not_finite)
            raise UserError(f"{parts.llm}: {'; '.join(problems)}")
    if parts.vit is None:
        logging.info("no --vit: the image encoder is random; the model cannot see until it is trained")
    if parts.vae is None:
        place = target / companions.NAME / folder.AUTOENCODER
        logging.info("no --autoencoder: copy FLUX's ae.safetensors to %s before training or sampling", place)


def _vit_section(path: Path, tensors: Mapping[str, Tensor]) -> dict:
    position = tensors.get("vision_model.embeddings.position_embedding.weight")
    rows = position.shape[0] if position is not None else 0
    return bagel_config.read_siglip(path if path.is_dir() else path.parent, patches_per_side=math.isqrt(rows))


def _tensors(place: Path) -> dict[str, Tensor]:
    if place.is_file():
        return tensor_file.read_table(place).tensors
    return folder.find_weights(place, ("model",)).tensors


def _expected_llm(model: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of the language model: those of the understanding expert, without q and k norms."""
    shapes = {}
    for key, slot in names.slots(model).items():
        unmarked = names.GENERATION not in key and not re.search(r"\.[qk]_norm\.", key)
        if key.startswith(_LLM) and unmarked:
            shapes[key.removeprefix(_LLM)] = slot.shape
    return shapes


def _expected_vit(model: ModelConfig) -> dict[str, tuple[int, ...]]:
    shapes = {key.removeprefix(_VIT): slot.shape for key, slot in names.slots(model).items() if key.startswith(_VIT)}
    patch = model.vit.patch
    return shapes | {_PATCH.removeprefix(_VIT): (model.vit.hidden, 3, patch, patch)}


def _layers_beyond(tensors: Iterable[str], model: ModelConfig) -> set[str]:
    """Keys of the encoder's layers that are not run."""
    found = {key: re.match(r"vision_model\.encoder\.layers\.(\d+)\.", key) for key in tensors}
    return {key for key, match in found.items() if match and int(match[1]) >= model.vit.layers}


def _check(
    place: Path, tensors: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]], optional: set[str]
) -> None:
    used = {key: tensor for key, tensor in tensors.items() if not _UNUSED.match(key)}
    used = {key: tensor for key, tensor in used.items() if key in shapes or key not in optional}
    wanted = {key: shape for key, shape in shapes.items() if key in used or key not in optional}
    problems = check.grouped(check.differences(used, wanted))
    if problems:
        raise UserError(f"{place}: its weights are not those that its config describes: {'; '.join(problems)}")
    left_out = sorted(set(tensors) - set(used))
    if left_out:
        logging.info("%s: left out, as BAGEL has no place for them: %s", place, ", ".join(check.patterns(left_out)))
