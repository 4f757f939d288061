"""Runs the ablation and writes its table: ``python -m irg_jax.ablate --workdir DIR --out docs/ablation.md``.

Every variant of ``--variants`` with every seed, each a run of ``irg_jax.train`` in DIR/VARIANT/SEED; the same command
again goes on where it stopped.
"""

import datetime
import json
import logging
import platform
import runpy
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

from absl import flags

from irg_jax import config as configs
from irg_jax import train

_SEEDS = flags.DEFINE_integer("seeds", 3, "runs of each variant", lower_bound=1)
_OUT = flags.DEFINE_string("out", "docs/ablation.md", "where the table goes")
_VARIANTS = flags.DEFINE_string(
    "variants", "configs/shapes_ablation.py", "a config file with VARIANTS by name, and get_config('VARIANT,SEED')"
)


def main() -> None:
    """Runs what has not run and writes the table."""
    configs.log_plainly()
    workdir = Path(flags.FLAGS.workdir).absolute()
    variants: dict[str, Callable] = runpy.run_path(_VARIANTS.value)["VARIANTS"]
    scores: dict[str, list[dict]] = {name: [] for name in variants}
    for seed in range(_SEEDS.value):
        for name in variants:
            folder = workdir / name / str(seed)
            if not (folder / "scores.json").exists():
                logging.info("== %s, seed %d", name, seed)
                train.run(configs.load(f"{_VARIANTS.value}:{name},{seed}"), folder)
            scores[name].append(json.loads((folder / "scores.json").read_text("utf-8")))
        # After every seed, so that a table is there early and only gets better.
        rows = [_row(name, variant.__doc__ or "", scores[name]) for name, variant in variants.items()]
        run = json.loads((folder / "run.json").read_text("utf-8"))
        config = json.loads((folder / "config.json").read_text("utf-8"))["stages"]["stage1"]
        Path(_OUT.value).write_text(_page(rows, seed + 1, run["commit"], config), encoding="utf-8")
        logging.info("written: %s, %d seed(s)", _OUT.value, seed + 1)


def _row(name: str, description: str, scores: list[dict]) -> str:
    columns = [_spread([s[turn][key] for s in scores]) for key in ("overall", "detail") for turn in ("turn1", "turn2")]
    columns.append(_spread([s["four_parts"]["share"] for s in scores]))
    return f"| `{name}` | {description.strip()} | {' | '.join(columns)} |"


def _spread(values: list[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.2f}"
    return f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}"


def _page(rows: list[str], seeds: int, commit: str, config: dict) -> str:
    table = "\n".join(rows)
    steps, batch, budgets = config["steps"], config["data"]["batch_size"], config["data"]["budgets"]
    return f"""# Ablation on the shapes world

`{" ".join(["python -m irg_jax.ablate", *sys.argv[1:]])}`, commit {commit}, {platform.machine()} CPU,
{datetime.date.today().isoformat()}. Each run: {steps} steps of {batch} rows of
{budgets["und"]} + {budgets["gen"]} tokens in one stage, the same for all; 96 held-out prompts;
mean ± standard deviation over {seeds} seed(s).

| variant | what | overall, turn 1 | overall, turn 2 | detail, turn 1 | detail, turn 2 | four parts |
|---|---|---|---|---|---|---|
{table}

`overall` is the mean of GenEval's six kinds, `detail` the fine-detail score, `four parts` the share of second thoughts
in the fixed form. `one_turn` is never taught a second turn: only its first counts.
"""


if __name__ == "__main__":
    configs.run(main, takes_config=False)
