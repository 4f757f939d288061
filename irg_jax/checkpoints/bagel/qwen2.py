"""Initializes a model from a Qwen2 language model, a SigLIP image encoder and a FLUX VAE.

Both experts start as copies of the language model. Weights that none of these has are initialized as in a new model: q
and k norms to one, ``llm2vae`` to zero, the connector and the other new layers at random.
"""

import logging
import math
import re
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from irg_jax.checkpoints.bagel import assets, checks, folder, names, tensor_file, to_orbax, vae
from irg_jax.checkpoints.bagel import config as bagel_config
from irg_jax.checkpoints.bagel.contents import VAE_FILE
from irg_jax.checkpoints.bagel.names import WeightSlot
from irg_jax.checkpoints.bagel.tensor_file import DTYPES, Tensor
from irg_jax.core.errors import UserError
from irg_jax.core.small_files import copy_file, is_there, write_json
from irg_jax.data import tokenizer
from irg_jax.models.config import ModelConfig

_LLM, _VIT = "language_model.", "vit_model."
_PATCH = f"{names.VIT}.embeddings.patch_embedding.weight"
# Weights of those checkpoints that are not used: pooling head, text tower, rotary tables of old files.
_UNUSED = re.compile(r"vision_model\.head\.|text_model\.|logit_(scale|bias)$|.*\.rotary_emb\.inv_freq$")


class Parts(NamedTuple):
    """Paths of the pretrained parts.

    Attributes:
      llm: folder of the language model.
      vit: folder or file of the image encoder, a file with ``config.json`` beside it; None initializes it at random.
      vae: file of the VAE; None if the user copies it later.
    """

    llm: Path
    vit: Path | None
    vae: Path | None


class PartsSource:
    """Reads the weights of a new model by their published keys.

    Args:
      llm: tensors of the language model, checked.
      vit: tensors of the image encoder, checked; may be empty.
      seed: seed of the newly initialized weights.
    """

    def __init__(self, llm: Mapping[str, Tensor], vit: Mapping[str, Tensor], seed: int):
        self._tensors = {_LLM + key: tensor for key, tensor in llm.items()}
        self._tensors |= {_VIT + key: tensor for key, tensor in vit.items()}
        self._seed = seed
        self.not_finite: dict[str, None] = {}

    def dtype(self, slot: WeightSlot) -> np.dtype:
        """The dtype of the part; newly initialized weights have the language model's."""
        return DTYPES[self._tensors[self._key(slot) or names.EMBEDDING].dtype]

    def rows(self, slot: WeightSlot, first: int, last: int) -> np.ndarray:
        """Rows of a weight; adds the part's key to ``not_finite`` if they contain NaN or infinity."""
        key = self._key(slot)
        if key is None:
            return init_weight(slot, self._seed)[first:last].astype(self.dtype(slot))
        values = tensor_file.read_rows(self._tensors[key], first, last)
        if not tensor_file.all_finite(values):
            self.not_finite[key.removeprefix(_LLM).removeprefix(_VIT)] = None
        if slot.key == _PATCH:
            # A convolution [out, channel, row, column]; our patches are flattened in the order row, column, channel.
            values = values.transpose(0, 2, 3, 1).reshape(last - first, -1)
        return values

    def _key(self, slot: WeightSlot) -> str | None:
        key = slot.key.replace(names.GENERATION, "")
        if key == names.HEAD and key not in self._tensors:
            key = names.EMBEDDING  # tied embeddings
        return key if key in self._tensors else None


def init_weight(slot: WeightSlot, seed: int) -> np.ndarray:
    """Initializes a weight as in a new model, float32, in its published shape; the key is folded into the seed."""
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
    """Writes a folder like ``to_orbax.convert``, from pretrained parts.

    Args:
      parts: paths of the parts.
      target: the folder to write.
      seed: seed of the newly initialized weights.
      overwrite: whether an existing target may be replaced.

    Raises:
      UserError: all problems of a part, or a target that cannot be written.
    """
    given = [path for path in parts if path is not None]
    folder.check_target(target, overwrite=overwrite, sources=given)
    llm = folder.find_weights(parts.llm, ("model",)).tensors
    vit = _tensors(parts.vit) if parts.vit is not None else {}
    vae_config = vae.read_config(parts.vae.parent) if parts.vae is not None else vae.PUBLISHED
    model = bagel_config.make_model(
        bagel_config.read_qwen2(parts.llm),
        _vit_section(parts.vit, vit) if parts.vit is not None else bagel_config.VIT_SO400M,
        vae_config,
    )
    _check(parts.llm, llm, _expected_llm(model), optional={"lm_head.weight"})
    if parts.vit is not None:
        _check(parts.vit, vit, _expected_vit(model), optional=_unused_layers(vit, model))
    if parts.vae is not None:
        checks.require_vae(parts.vae, vae_config)
    found = bagel_config.check_tokenizer(parts.llm, model, bagel_config.read_json(parts.llm / "config.json"))
    dtype = to_orbax.compute_dtype(llm["model.embed_tokens.weight"])
    source = PartsSource(llm, vit, seed)
    with folder.replacing(target, overwrite=overwrite, sources=given) as partial:
        beside = partial / assets.NAME
        tokenizer.copy(parts.llm, beside)
        for name, values in bagel_config.config_files(model, found).items():
            write_json(beside / name, values)
        if parts.vae is not None:
            copy_file(parts.vae, beside / VAE_FILE)
        to_orbax.write(partial, target, model, dtype, source)
        if source.not_finite:
            problems = checks.grouped((key, "contains NaN or infinity") for key in source.not_finite)
            raise UserError(f"{parts.llm}: {'; '.join(problems)}")
    if parts.vit is None:
        logging.info("no --vit: the image encoder is initialized at random and has to be trained")
    if parts.vae is None:
        path = target / assets.NAME / VAE_FILE
        logging.info("no --vae: copy FLUX's ae.safetensors to %s before training or sampling", path)


def _vit_section(path: Path, tensors: Mapping[str, Tensor]) -> dict:
    position = tensors.get("vision_model.embeddings.position_embedding.weight")
    rows = position.shape[0] if position is not None else 0
    return bagel_config.read_siglip(path if path.is_dir() else path.parent, patches_per_side=math.isqrt(rows))


def _tensors(path: Path) -> dict[str, Tensor]:
    if is_there(path) and not path.is_dir():
        return tensor_file.read_header(path).tensors
    return folder.find_weights(path, ("model",)).tensors


def _expected_llm(model: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of the language model: those of the understanding expert, without q and k norms."""
    shapes = {}
    for key, slot in names.slots(model).items():
        in_qwen2 = names.GENERATION not in key and not re.search(r"\.[qk]_norm\.", key)
        if key.startswith(_LLM) and in_qwen2:
            shapes[key.removeprefix(_LLM)] = slot.shape
    return shapes


def _expected_vit(model: ModelConfig) -> dict[str, tuple[int, ...]]:
    shapes = {key.removeprefix(_VIT): slot.shape for key, slot in names.slots(model).items() if key.startswith(_VIT)}
    patch = model.vit.patch
    return shapes | {_PATCH.removeprefix(_VIT): (model.vit.hidden, 3, patch, patch)}


def _unused_layers(tensors: Iterable[str], model: ModelConfig) -> set[str]:
    """Keys of the encoder's layers after the last one that is used."""
    found = {key: re.match(r"vision_model\.encoder\.layers\.(\d+)\.", key) for key in tensors}
    return {key for key, match in found.items() if match and int(match[1]) >= model.vit.layers}


def _check(
    path: Path, tensors: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]], optional: set[str]
) -> None:
    used = {key: tensor for key, tensor in tensors.items() if not _UNUSED.match(key)}
    used = {key: tensor for key, tensor in used.items() if key in shapes or key not in optional}
    wanted = {key: shape for key, shape in shapes.items() if key in used or key not in optional}
    problems = checks.grouped(checks.differences(used, wanted))
    if problems:
        raise UserError(f"{path}: its weights are not those that its config describes: {'; '.join(problems)}")
    unused = sorted(set(tensors) - set(used))
    if unused:
        logging.info("%s: not used, BAGEL has no such weights: %s", path, ", ".join(checks.patterns(unused)))
