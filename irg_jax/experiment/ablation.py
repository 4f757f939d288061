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
from irg_jax.core.errors import UserError
from irg_jax.core.locks import locked
from irg_jax.core.outputs import check_output_file, check_output_folder
from irg_jax.core.small_files import read_text, write_text
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
      UserError: a file without variants, a folder or file that cannot be written, or whatever a run raises.
    """
    variants = _read_variants(variants_file)
    check_output_file(out, "--out")
    check_output_folder(workdir, "--workdir")
    with locked(workdir, "--workdir"):
        _run_all(variants, variants_file, seeds, workdir, out)


def _read_variants(variants_file: str) -> dict[str, Callable]:
    file = locate(variants_file)
    try:
        variants = runpy.run_path(str(file)).get("VARIANTS")
    except Exception as error:
        raise UserError(f"{file}: cannot be run ({type(error).__name__}: {error})") from error
    if not isinstance(variants, dict) or not variants or not all(map(callable, variants.values())):
        raise UserError(f"{file}: has no VARIANTS, a dict of functions by name, as configs/shapes_ablation.py has")
    return variants


def _run_all(variants: dict[str, Callable], variants_file: str, seeds: int, workdir: Path, out: Path) -> None:
    scores: dict[str, list[dict]] = {name: [] for name in variants}
    for seed in range(seeds):
        for name in variants:
            folder = workdir / name / str(seed)
            if not (folder / "scores.json").exists():
                logging.info("== %s, seed %d", name, seed)
                stages.run(parse_config(load(f"{variants_file}:{name},{seed}")), folder)
            scores[name].append(_read_json(folder / "scores.json"))
        # After every seed, so that a first table exists early.
        rows = [_row(name, variant.__doc__ or "", scores[name]) for name, variant in variants.items()]
        configs = {name: _read_json(workdir / name / str(seed) / "config.json") for name in variants}
        run, one_turn = _read_json(folder / "run.json"), [name for name in variants if _is_one_turn(configs[name])]
        write_text(out, _page(rows, seed + 1, run["commit"], configs[name], one_turn))
        logging.info("wrote %s, %d seed(s)", out, seed + 1)


def _read_json(path: Path) -> dict:
    try:
        values = json.loads(read_text(path))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as JSON ({error}); remove the run's folder to run it again") from error
    if not isinstance(values, dict):
        raise UserError(f"{path}: is not a JSON object; remove the run's folder to run it again")
    return values


def _is_one_turn(config: dict) -> bool:
    """Whether no mode of the run learns anything of a second turn."""
    return all(mode.startswith("initial_") for _, mode, _, _ in config["stages"]["stage1"]["data"]["mixture"])


def _row(name: str, description: str, scores: list[dict]) -> str:
    columns = [_spread([s[turn][key] for s in scores]) for key in ("overall", "detail") for turn in ("turn1", "turn2")]
    columns.append(_spread([s["four_parts"]["share"] for s in scores]))
    return f"| `{name}` | {description.strip()} | {' | '.join(columns)} |"


def _spread(values: list[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.2f}"
    return f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}"


def _page(rows: list[str], seeds: int, commit: str, config: dict, one_turn: list[str]) -> str:
    table, stage = "\n".join(rows), config["stages"]["stage1"]
    steps, batch, budgets = stage["steps"], stage["data"]["batch_size"], stage["data"]["budgets"]
    untrained = ", ".join(f"`{name}`" for name in one_turn)
    note = f" Never trained on a second turn, so that only the first one counts: {untrained}." if one_turn else ""
    return f"""# Ablation on the shapes world

`{" ".join(["python -m irg_jax.ablate", *sys.argv[1:]])}`, commit {commit}, {platform.machine()} CPU,
{datetime.date.today().isoformat()}. Each run: {steps} steps of {batch} rows of
{budgets["und"]} + {budgets["gen"]} tokens (und + gen) in one stage, the same for all;
{config["evaluate"]["prompts"]} held-out prompts; mean ± standard deviation over {seeds} seed(s).

| variant | description | overall, turn 1 | overall, turn 2 | detail, turn 1 | detail, turn 2 | four parts |
|---|---|---|---|---|---|---|
{table}

`overall` is the mean of GenEval's six kinds of prompt, `detail` the fine-detail score, `four parts` the share of second
thinking texts in the fixed form.{note}
"""
