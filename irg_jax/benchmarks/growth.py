"""How the cost of a step grows with tokens a row, with rows and with layers; and attention's memory with tokens.

Each figure is measured with the others at the config's own values. Rows are filled with the samples of
``benchmarks.train``, so a longer row holds more of them, as in training.
"""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from irg_jax.benchmarks.common import seconds
from irg_jax.benchmarks.train import Run
from irg_jax.models.attention import BACKENDS
from irg_jax.models.attention.spans import Spans
from irg_jax.models.config import ModelConfig

# Multiples of the config's budgets, rows and layers.
LENGTHS, ROWS, LAYERS = (1, 2, 4, 8, 16), (1, 2, 4, 8), (1, 2, 4, 8)


def growth(config: Any, model: ModelConfig, repeats: int) -> dict[str, Any]:
    """Lists of (tokens, rows or layers; seconds a step or bytes) under the name of what grows."""
    longer = []
    for factor in LENGTHS:
        changed = config.copy_and_resolve_references()
        with changed.unlocked():
            changed.data.budgets = {name: factor * size for name, size in config.data.budgets.items()}
        run = Run(changed, model)
        _, time = seconds(run.step, repeats)
        longer.append((run.tokens // config.data.batch_size, time))
    more = []
    for rows in ROWS:
        changed = config.copy_and_resolve_references()
        with changed.unlocked():
            changed.data.batch_size = rows * config.data.batch_size
        more.append((rows * config.data.batch_size, seconds(Run(changed, model).step, repeats)[1]))
    deeper = []
    for factor in LAYERS:
        layers = factor * model.decoder.layers
        deep = dataclasses.replace(model, decoder=dataclasses.replace(model.decoder, layers=layers))
        deeper.append((layers, seconds(Run(config, deep).step, repeats)[1]))
    return {
        "step, s, by tokens a row": longer,
        "step, s, by rows": more,
        "step, s, by layers": deeper,
        "attention, bytes, by tokens a row": [(tokens, attention_bytes(model, tokens)) for tokens, _ in longer],
    }


def attention_bytes(model: ModelConfig, tokens: int) -> int:
    """Temporaries of attention and its backward pass over one row, beside arguments and results; nothing is run."""
    decoder, attend = model.decoder, BACKENDS[model.attention]

    def loss(q: jax.Array, k: jax.Array, v: jax.Array, spans: Spans) -> jax.Array:
        return jnp.sum(attend(q, k, v, spans).out.astype(jnp.float32) ** 2)

    q, kv = (
        jax.ShapeDtypeStruct((1, tokens, n, decoder.head_dim), model.dtype) for n in (decoder.heads, decoder.kv_heads)
    )
    spans: Any = Spans(*[jax.ShapeDtypeStruct((1, tokens), jnp.int32)] * 3)  # type: ignore[arg-type]
    lowered = jax.jit(jax.grad(loss, argnums=(0, 1, 2))).lower(q, kv, kv, spans)
    memory: Any = lowered.compile().memory_analysis()
    return memory.temp_size_in_bytes


def plot(figures: dict[str, Any], path: Path) -> None:
    """One panel for each list, both axes logarithmic, beside a line of exact proportion."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.2), layout="constrained")
    names = [name for name, value in figures.items() if isinstance(value, list)]
    for axes, name in zip(figure.subplots(1, len(names)), names, strict=True):
        x, y = zip(*figures[name], strict=True)
        what, unit, by = name.split(", ")
        axes.loglog(x, y, "o-", base=2, color="#2b6cb0", label="measured")
        axes.loglog(x, [y[-1] * value / x[-1] for value in x], "--", base=2, color="#a0aec0", label="in proportion")
        axes.set(xlabel=by.removeprefix("by "), ylabel=f"{what}, {unit}", xticks=x)
        axes.set_xticks(x, [f"{value:,}" for value in x], rotation=30)
        axes.minorticks_off()
        axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)
