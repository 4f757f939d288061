"""An ablation: one run per variant and seed of a config file, and the table of their scores."""

import json
import logging
import runpy
from collections.abc import Callable
from pathlib import Path

from irg_jax.core.config.files import load, locate
from irg_jax.core.errors import UserError
from irg_jax.core.locks import locked
from irg_jax.core.outputs import check_output_file, check_output_folder
from irg_jax.core.small_files import read_text, write_text
from irg_jax.experiment import stages
from irg_jax.experiment.config import parse_config
from irg_jax.reporting import ablation_table


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
        configs = {name: _read_json(workdir / name / str(seed) / "config.json") for name in variants}
        one_turn = [name for name in variants if _is_one_turn(configs[name])]
        descriptions = {name: variant.__doc__ or "" for name, variant in variants.items()}
        commit = _read_json(folder / "run.json")["commit"]
        write_text(out, ablation_table.page(scores, descriptions, configs[name], commit, one_turn))
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
