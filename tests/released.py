"""What the released code computes with a tiny random BAGEL, and our model with the same weights, to compare with it."""

import functools
import json
import pathlib

import jax
import numpy as np
from flax import nnx

from irg_jax.data import layout
from irg_jax.data.conversation import Conversation, Image, Text
from irg_jax.data.images import ImageTransform
from irg_jax.data.layout import Budgets, RowBuilder, Vocabulary
from irg_jax.data.tokenizer import Tokenizer
from irg_jax.models.config import ModelConfig
from irg_jax.models.transformer import UnifiedTransformer
from irg_jax.training.losses import FlowDraws
from irg_jax.training.optimizer import weight_name
from irg_jax.training.state import graph_of

FOLDER = pathlib.Path(__file__).parent / "data" / "bagel_tiny"


@functools.cache
def arrays(name: str) -> dict[str, np.ndarray]:
    """``packed_batch``, ``train_forward``, ``parts``, …"""
    return dict(np.load(FOLDER / f"{name}.npz"))


# --- the batch


def packed_batch() -> dict:
    """The seven samples in one row of exactly their size."""
    words = Vocabulary(
        Tokenizer(FOLDER / "bagel"),
        ImageTransform(max_size=128, min_size=32, stride=16),
        ImageTransform(max_size=140, min_size=56, stride=14),
    )
    builder = RowBuilder(words, max_latent_size=8, vit_patches_per_side=10)
    for mode, parts in enumerate(json.loads((FOLDER / "samples.json").read_text())):
        made = []
        for part in parts:
            if part["type"] == "text":
                made.append(Text(part["content"], part["need_loss"]))
            else:
                flags = (part[name] for name in ("need_loss", "need_vae", "need_vit"))
                made.append(Image((FOLDER / part["image"]).read_bytes(), *flags))
        conversation = Conversation(f"samples/{mode}", tuple(made))
        builder.add(conversation, layout.segments(conversation, words), dropped=0, mode=mode)
    row = builder.build(Budgets(und=861, gen=236, vit=299, images=7, image_size=(128, 128), vit_patch=588))
    return jax.tree.map(lambda x: x[None], row)


def flow_draws(batch: dict, shift: float) -> FlowDraws:
    """The released times and noise in the order of the batch."""
    before_sigmoid = arrays("packed_batch")["packed_timesteps"]
    s = 1 / (1 + np.exp(-before_sigmoid))
    times = np.zeros((1, 7), np.float32)
    times[0, batch["gen"]["block"][0]] = shift * s / (1 + (shift - 1) * s)
    return FlowDraws(times, arrays("train_forward")["flow_noise"][None])


class ReleasedLatents:
    """Stands for the VAE: gives the latents that the released one drew, whatever the pixels."""

    def encode(self, pixels):
        latents = arrays("train_forward")["padded_latent"].transpose(0, 2, 3, 1)
        _, height, width, _ = pixels.shape
        rows, columns = height // 8 - latents.shape[1], width // 8 - latents.shape[2]
        return np.pad(latents, ((0, 0), (0, rows), (0, columns), (0, 0)))


# --- the model


class FluxShaped(ModelConfig):
    """A config whose latents have the 16 channels of the FLUX VAE."""

    @property
    def token_channels(self) -> int:
        return 16 * self.latent_patch**2


def config() -> ModelConfig:
    return FluxShaped.from_mapping(
        {
            "decoder": dict(
                hidden=64, layers=3, heads=4, kv_heads=2, head_dim=16, mlp=96, vocab=512, rope_theta=1e6, norm_eps=1e-6
            ),
            "vit": dict(hidden=48, layers=2, heads=4, mlp=80, patch=14, patches_per_side=10, norm_eps=1e-6),
            "autoencoder": dict(downsample=8, scale=1.0, shift=0.0),
            "latent_patch": 2,
            "max_latent_size": 8,
            "time_features": 256,
            "dtype": "float32",
            "remat": "none",
        }
    )


_LLM, _VIT = "language_model.model.", "vit_model.vision_model."
_NAMES = {
    "embedding": f"{_LLM}embed_tokens.weight", "lm_head.kernel": "language_model.lm_head.weight",
    "und_norm": f"{_LLM}norm", "gen_norm": f"{_LLM}norm_moe_gen", "llm2vae": "llm2vae", "vae2llm": "vae2llm",
    "time.up": "time_embedder.mlp.0", "time.down": "time_embedder.mlp.2", "connector.up": "connector.fc1",
    "connector.down": "connector.fc2", "vit.norm": f"{_VIT}post_layernorm",
    "vit.patch": f"{_VIT}embeddings.patch_embedding", "vit.position": f"{_VIT}embeddings.position_embedding.weight",
}  # fmt: skip
_DECODER_LAYER = {
    "attention_norm": "input_layernorm{}", "mlp_norm": "post_attention_layernorm{}",
    **{x: f"self_attn.{x}_proj{{}}" for x in "qkvo"}, "q_norm": "self_attn.q_norm{}", "k_norm": "self_attn.k_norm{}",
    **{x: f"mlp{{}}.{x}_proj" for x in ("gate", "up", "down")},
}  # fmt: skip
_VIT_LAYER = {
    "norm1": "layer_norm1", "norm2": "layer_norm2", **{x: f"self_attn.{x}_proj" for x in "qkv"},
    "o": "self_attn.out_proj", "up": "mlp.fc1", "down": "mlp.fc2",
}  # fmt: skip


def released_names(name: str, layers: int) -> list[str]:
    """The released names of one of our weights: one, or one a layer."""
    if name in _NAMES:
        return [_NAMES[name]]
    module, _, leaf = name.rpartition(".")
    leaf = "bias" if leaf == "bias" else "weight"
    if module in _NAMES:
        return [f"{_NAMES[module]}.{leaf}"]
    if module.startswith("vit.blocks."):
        layer = _VIT_LAYER[module.removeprefix("vit.blocks.")]
        return [f"{_VIT}encoder.layers.{i}.{layer}.{leaf}" for i in range(layers)]
    _, expert, part = module.split(".")
    layer = _DECODER_LAYER[part].format("_moe_gen" if expert == "gen" else "")
    return [f"{_LLM}layers.{i}.{layer}.{leaf}" for i in range(layers)]


def read_safetensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    """float32 weights of a published checkpoint: a length, a JSON table, and the numbers."""
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    table = json.loads(content[8:start])
    table.pop("__metadata__", None)
    assert {entry["dtype"] for entry in table.values()} == {"F32"}
    bounds = {name: [start + offset for offset in entry["data_offsets"]] for name, entry in table.items()}
    return {
        name: np.frombuffer(content[slice(*bounds[name])], np.float32).reshape(entry["shape"])
        for name, entry in table.items()
    }


def by_released_name(tree) -> dict[str, np.ndarray]:
    """A tree of our weights (or of their gradients) under the released names, in the released shapes."""
    found = {}

    def one(path, x):
        name = weight_name(path)
        names = released_names(name, x.shape[0] if ".blocks." in f".{name}" else 1)
        for released, value in zip(names, x if len(names) > 1 else [x], strict=True):
            found[released] = np.asarray(value).T if name.endswith("kernel") else np.asarray(value)

    jax.tree_util.tree_map_with_path(one, tree)
    return found


def weights() -> nnx.State:
    """The released weights in our tree."""
    file = read_safetensors(FOLDER / "bagel" / "ema.safetensors")
    _, abstract = graph_of(config())

    def one(path, x):
        name = weight_name(path)
        stacked = ".blocks." in f".{name}"
        values = [file[n].T if name.endswith("kernel") else file[n] for n in released_names(name, x.shape[0])]
        value = np.stack(values) if stacked else values[0]
        assert value.shape == x.shape, (name, value.shape, x.shape)
        return jax.numpy.asarray(value)

    return jax.tree_util.tree_map_with_path(one, abstract)


def model() -> UnifiedTransformer:
    return nnx.merge(graph_of(config())[0], weights())
