"""BAGEL folders for tests: the tiny one that the released code reads, whole or with something changed."""

import json
import pathlib
import shutil

import ml_dtypes
import numpy as np
import safetensors
from safetensors.numpy import save_file

from tests import released

TINY = released.FOLDER / "bagel"


def content(folder: pathlib.Path) -> dict[str, bytes]:
    """The content of every file in a folder, by its relative path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def tensors() -> dict[str, np.ndarray]:
    return released.read_safetensors(TINY / "ema.safetensors")


def changed(target: pathlib.Path, drop=(), **values) -> pathlib.Path:
    """A copy of the tiny folder.

    Args:
      target: a new folder.
      drop: names of files that are not copied.
      values: ``FILE__KEY=value``, a value in ``FILE.json``; None removes the key.
    """
    shutil.copytree(TINY, target, ignore=shutil.ignore_patterns(*drop))
    for dotted, value in values.items():
        name, *keys = dotted.split("__")
        path = target / f"{name}.json"
        document = json.loads(path.read_text())
        section = document
        for key in keys[:-1]:
            section = section[key]
        section[keys[-1]] = value
        if value is None:
            del section[keys[-1]]
        path.write_text(json.dumps(document))
    return target


def with_tensors(target: pathlib.Path, weights: dict[str, np.ndarray], **values) -> pathlib.Path:
    """A copy of the tiny folder with other weights."""
    changed(target, drop=("ema.safetensors",), **values)
    save_file(weights, target / "ema.safetensors", {"format": "pt"})
    return target


def in_bfloat16(target: pathlib.Path) -> pathlib.Path:
    """A copy of the tiny folder with weights rounded to bfloat16."""
    return with_tensors(target, {key: value.astype(ml_dtypes.bfloat16) for key, value in tensors().items()})


def sharded(target: pathlib.Path) -> pathlib.Path:
    """A copy of the tiny folder with the weights in three shards, keys distributed without any order."""
    changed(target, drop=("ema.safetensors",))
    weights = tensors()
    names = [f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)]
    weight_map = {key: names[sum(key.encode()) % 3] for key in weights}
    for name in names:
        save_file({key: weights[key] for key in weights if weight_map[key] == name}, target / name)
    index = {"metadata": {"total_size": sum(x.nbytes for x in weights.values())}, "weight_map": weight_map}
    (target / "model.safetensors.index.json").write_text(json.dumps(index))
    return target


def saved(path: pathlib.Path) -> dict[str, np.ndarray]:
    """The weights of a file, or of all files of a folder, read by the safetensors library."""
    files = [path] if path.is_file() else [x for x in path.glob("*.safetensors") if x.name != "ae.safetensors"]
    weights = {}
    for file in files:
        with safetensors.safe_open(file, framework="np") as opened:
            weights |= {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
    return weights


# --- parts to initialize a model from

LLM, VIT = "language_model.", "vit_model."
TOKENIZER = ("tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json")


def llm_weights() -> dict[str, np.ndarray]:
    """The tiny model's understanding expert as a Qwen2 model: without q and k norms."""
    return {
        key.removeprefix(LLM): value.astype(ml_dtypes.bfloat16)
        for key, value in tensors().items()
        if key.startswith(LLM) and "moe_gen" not in key and "q_norm" not in key and "k_norm" not in key
    }


def write_llm(folder, weights, **values):
    folder.mkdir()
    for name in TOKENIZER:
        shutil.copyfile(TINY / name, folder / name)
    document = json.loads((TINY / "llm_config.json").read_text())
    (folder / "config.json").write_text(json.dumps(document | values))
    save_file(weights, folder / "model.safetensors")
    return folder


def vit_weights() -> dict[str, np.ndarray]:
    """The tiny model's encoder as SigLIP: a convolution, one more layer, a pooling head, a text tower."""
    weights = {key.removeprefix(VIT): x for key, x in tensors().items() if key.startswith(VIT)}
    patch = weights["vision_model.embeddings.patch_embedding.weight"]
    weights["vision_model.embeddings.patch_embedding.weight"] = (
        patch.reshape(-1, 14, 14, 3).transpose(0, 3, 1, 2).copy()
    )
    last = {key.replace("layers.1", "layers.2"): x for key, x in weights.items() if ".layers.1." in key}
    beyond = ("vision_model.head.probe", "text_model.final_layer_norm.weight", "logit_scale")
    return weights | last | {key: np.ones(3, np.float32) for key in beyond}


def write_vit(folder, weights):
    folder.mkdir()
    document = json.loads((TINY / "vit_config.json").read_text())
    (folder / "config.json").write_text(json.dumps({"model_type": "siglip", "vision_config": document}))
    save_file(weights, folder / "model.safetensors")
    return folder


def parts(folder: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path, pathlib.Path]:
    """A language model, an image encoder and the file of a VAE, made from the tiny model."""
    vae = folder / "vae"
    vae.mkdir(parents=True)
    for name in ("ae.safetensors", "ae_config.json"):
        shutil.copyfile(TINY / name, vae / name)
    llm, vit = write_llm(folder / "llm", llm_weights()), write_vit(folder / "vit", vit_weights())
    return llm, vit, vae / "ae.safetensors"
