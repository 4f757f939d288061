"""How the cost of a step grows with tokens per row, with rows and with layers; and attention's memory with tokens.

One quantity changes at a time, the others keep the config's values. Rows are filled with the samples of
``perf.synthetic``, so a longer row has more of them, as in training.
"""

import dataclasses
import importlib.util
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from irg_jax.core.errors import UserError
from irg_jax.data.config import BudgetConfig
from irg_jax.models.attention import BACKENDS
from irg_jax.models.attention.spans import Spans
from irg_jax.perf.timing import seconds
from irg_jax.perf.train import Run
from irg_jax.training.config import StageConfig

# Multiples of the config's budgets, rows and layers.
LENGTHS, ROWS, LAYERS = (1, 2, 4, 8, 16), (1, 2, 4, 8), (1, 2, 4, 8)


def growth(config: StageConfig, repeats: int) -> dict[str, Any]:
    """Lists of (tokens, rows or layers; seconds per step or bytes), each under the name of what grows."""
    by_tokens = []
    for factor in LENGTHS:
        run = Run(_with_budgets(config, factor))
        _, time = seconds(run.step, repeats)
        by_tokens.append((run.tokens // config.data.batch_size, time))
    by_rows = []
    for factor in ROWS:
        rows = factor * config.data.batch_size
        changed = dataclasses.replace(config, data=dataclasses.replace(config.data, batch_size=rows))
        by_rows.append((rows, seconds(Run(changed).step, repeats)[1]))
    by_layers = []
    for factor in LAYERS:
        layers = factor * config.model.decoder.layers
        decoder = dataclasses.replace(config.model.decoder, layers=layers)
        changed = dataclasses.replace(config, model=dataclasses.replace(config.model, decoder=decoder))
        by_layers.append((layers, seconds(Run(changed).step, repeats)[1]))
    return {
        "step, s, by tokens per row": by_tokens,
        "step, s, by rows": by_rows,
        "step, s, by layers": by_layers,
        "attention, bytes, by tokens per row": [(tokens, attention_bytes(config, tokens)) for tokens, _ in by_tokens],
    }


def _with_budgets(config: StageConfig, factor: int) -> StageConfig:
    budgets = BudgetConfig(*(factor * size for size in dataclasses.astuple(config.data.budgets)))
    return dataclasses.replace(config, data=dataclasses.replace(config.data, budgets=budgets))


def attention_bytes(config: StageConfig, tokens: int) -> int:
    """Bytes of temporaries of attention and its backward pass over one row; compiled, not run."""
    decoder, execution = config.model.decoder, config.execution.on(jax.default_backend())
    attend = BACKENDS[execution.attention]

    def loss(q: jax.Array, k: jax.Array, v: jax.Array, spans: Spans) -> jax.Array:
        return jnp.sum(attend(q, k, v, spans).out.astype(jnp.float32) ** 2)

    q, kv = (
        jax.ShapeDtypeStruct((1, tokens, n, decoder.head_dim), execution.dtype)
        for n in (decoder.heads, decoder.kv_heads)
    )
    spans: Any = Spans(*[jax.ShapeDtypeStruct((1, tokens), jnp.int32)] * 3)  # type: ignore[arg-type]
    lowered = jax.jit(jax.grad(loss, argnums=(0, 1, 2))).lower(q, kv, kv, spans)
    memory: Any = lowered.compile().memory_analysis()
    return memory.temp_size_in_bytes


def check_plot(path: Path) -> None:
    """Raises a UserError unless ``plot`` can write such a file: before the measuring, which takes long."""
    if path.suffix not in (".png", ".svg"):
        raise UserError(f"--plot: {path}: must end with .png or .svg")
    if importlib.util.find_spec("matplotlib") is None:
        raise UserError("--plot: needs matplotlib; install the extra plot: pip install 'irg-jax[plot]'")


def plot(figures: dict[str, Any], path: Path) -> None:
    """Draws one panel per list, both axes logarithmic, beside a line of exact proportion."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.2), layout="constrained")
    names = [name for name, value in figures.items() if isinstance(value, list)]
    for axes, name in zip(figure.subplots(1, len(names)), names, strict=True):
        x, y = zip(*figures[name], strict=True)
        quantity, unit, by = name.split(", ")
        axes.loglog(x, y, "o-", base=2, color="#2b6cb0", label="measured")
        axes.loglog(x, [y[-1] * value / x[-1] for value in x], "--", base=2, color="#a0aec0", label="in proportion")
        axes.set(xlabel=by.removeprefix("by "), ylabel=f"{quantity}, {unit}", xticks=x)
        axes.set_xticks(x, [f"{value:,}" for value in x], rotation=30)
        axes.minorticks_off()
        axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)
