"""The variants of the paper's ablation: the same tokens for all, each with one ingredient more; and their table."""

import dataclasses
import json
import re

import pytest

from irg_jax.core.config.files import load, to_json
from irg_jax.experiment.ablation import run_ablation
from irg_jax.experiment.config import ExperimentConfig, parse_config
from irg_jax.training.config import StageConfig

CONFIGS = ("shapes_paper_ablation", "shapes_irg_ablation", "irg_7b_ablation")
VARIANTS = ("self_cot", "good_images", "irg_trajectory", "six_modes")
FULL = ["initial_full_learning", "improving_full_learning"]


def stage(config: str, variant: str, seed: int = 0) -> StageConfig:
    parsed = parse_config(load(f"{config}:{variant},{seed}"))
    return parsed.stages["stage1"] if isinstance(parsed, ExperimentConfig) else parsed


@pytest.mark.parametrize("config", CONFIGS)
def test_each_variant_learns_what_its_name_says(config):
    data = {variant: stage(config, variant).data for variant in VARIANTS}
    modes = {variant: [entry.mode for entry in own.mixture] for variant, own in data.items()}
    assert modes["self_cot"] == modes["good_images"] == FULL[:1]
    assert modes["irg_trajectory"] == FULL and len(modes["six_modes"]) == 6
    assert [own.initial_target for own in data.values()] == ["draft", "good", "good", "good"]
    assert {own.thinking1 for own in data.values()} == {"plan"}


@pytest.mark.parametrize("config", CONFIGS)
def test_the_variants_differ_in_nothing_else_so_their_tokens_are_equal(config):
    base, *others = (stage(config, variant) for variant in VARIANTS)
    for other in others:
        mixture = {"mixture": base.data.mixture, "initial_target": base.data.initial_target}
        assert dataclasses.replace(other, data=dataclasses.replace(other.data, **mixture)) == base


@pytest.mark.parametrize("config", CONFIGS)
def test_a_seed_is_that_of_weights_and_data(config):
    for seed in (0, 1):
        assert (stage(config, "six_modes", seed).seed, stage(config, "six_modes", seed).data.seed) == (seed, seed)


def test_the_table_says_which_variants_have_one_turn(tmp_path):
    item = {"sample": "00000", "kind": "counting"} | {
        f"turn{turn}": {"correct": turn == 2, "detail": 0.25} for turn in (1, 2)
    }
    none, one = {"correct": 0, "count": 0}, {"correct": 1, "count": 1}
    scores = {
        "turn1": {"overall": 0.0, "detail": 0.25, "manners": {"geneval": 0.0, "tiif": 0.25}},
        "turn2": {"overall": 1.0, "detail": 0.25, "manners": {"geneval": 1.0, "tiif": 0.75}},
        "change": {"repaired": one, "damaged": none},
        "kept": 0.5,
        "perception": {"balanced": 0.75},
        "reflection": {"balanced": None},
        "items": [item | {"controls": {"turn 3": {"correct": False, "detail": 0.25}}}],
        "controls": {"turn 3": {}},
    }
    for variant in VARIANTS:  # finished runs, so that nothing is trained
        folder = tmp_path / "runs" / variant / "0"
        folder.mkdir(parents=True)
        (folder / "scores.json").write_text(json.dumps(scores))
        (folder / "run.json").write_text('{"commit": "0123abc"}')
        (folder / "config.json").write_text(to_json(parse_config(load(f"shapes_paper_ablation:{variant},0"))))
    run_ablation("shapes_paper_ablation", 1, tmp_path / "runs", tmp_path / "table.md")
    table = (tmp_path / "table.md").read_text()
    main, against, rest = re.split("## Against one turn.*|## By benchmark", table)
    assert "| variant | minus `self_cot` | minus `good_images` |" in against
    assert f"| `six_modes` |{' +100.0 [+100.0, +100.0] |' * 2}" in against
    manners, controls = rest.split("## Controls")
    assert "| variant | geneval | tiif |" in manners
    assert manners.count(" | 0.00 → 1.00 | 0.25 → 0.75 |") == len(VARIANTS)
    assert [line.split("`")[1] for line in main.splitlines() if line.startswith("| `")] == list(VARIANTS)
    assert "only the first one counts: `self_cot`, `good_images`." in main
    row = ["0.00", "1.00", "+100.0 [+100.0, +100.0]", "0.25", "0.25", "100 % (1 of 1)", "–", "0.50", "0.75", "–"]
    assert f"| + good images: one turn that learns the good image instead. | {' | '.join(row)} |" in main
    assert [line.split("`")[1] for line in controls.splitlines() if line.startswith("| `")] == list(VARIANTS[2:])
    assert "| `six_modes` | turn 3 | 0.0 % | -100.0 [-100.0, -100.0] | +0.0 [+0.0, +0.0] |" in controls
