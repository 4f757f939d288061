"""An ablation: one run per variant and seed of a config file, and the table of their scores."""

import datetime
import json
import logging
import platform
import runpy
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

from irg_jax.core.config.files import load, locate
from irg_jax.experiment import stages
from irg_jax.experiment.config import parse_config


def run_ablation(variants_file: str, seeds: int, workdir: Path, out: Path) -> None:
    """Runs each variant and seed without scores in WORKDIR/VARIANT/SEED, and writes the table after every seed.

    Args:
      variants_file: path or name of a config with ``VARIANTS`` by name and ``get_config("VARIANT,SEED")``.
      seeds: runs per variant.
      workdir: folder of all runs.
      out: file of the table, Markdown.

    Raises:
      UserError: whatever a run raises.
    """
    variants: dict[str, Callable] = runpy.run_path(str(locate(variants_file)))["VARIANTS"]
    scores: dict[str, list[dict]] = {name: [] for name in variants}
    for seed in range(seeds):
        for name in variants:
            folder = workdir / name / str(seed)
            if not (folder / "scores.json").exists():
                logging.info("== %s, seed %d", name, seed)
                stages.run(parse_config(load(f"{variants_file}:{name},{seed}")), folder)
            scores[name].append(json.loads((folder / "scores.json").read_text("utf-8")))
        # After every seed, so that a first table exists early.
        rows = [_row(name, variant.__doc__ or "", scores[name]) for name, variant in variants.items()]
        run = json.loads((folder / "run.json").read_text("utf-8"))
        config = json.loads((folder / "config.json").read_text("utf-8"))["stages"]["stage1"]
        out.write_text(_page(rows, seed + 1, run["commit"], config), encoding="utf-8")
        logging.info("wrote %s, %d seed(s)", out, seed + 1)


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
{budgets["und"]} + {budgets["gen"]} tokens (und + gen) in one stage, the same for all; 96 held-out prompts;
mean ± standard deviation over {seeds} seed(s).

| variant | description | overall, turn 1 | overall, turn 2 | detail, turn 1 | detail, turn 2 | four parts |
|---|---|---|---|---|---|---|
{table}

`overall` is the mean of GenEval's six kinds of prompt, `detail` the fine-detail score, `four parts` the share of second
thinking texts in the fixed form. `one_turn` is never trained on a second turn: only its first turn counts.
"""
