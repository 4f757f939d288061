"""Which turn is better: a judge that changes, pairs without a verdict, and verdicts on other turns."""

import dataclasses

import pytest

from irg_jax.core.small_files import write_json
from irg_jax.evaluation.run import FILE, BenchmarkRun, samples
from irg_jax.worlds.shapes.oracle.faults import Fault
from tests import commands
from tests.evaluation import scoring, small_benchmarks


@pytest.fixture
def run(tmp_path):
    """A run of two turns of WISE, as ``evaluate generate`` leaves it, without layouts."""
    data, out = tmp_path / "data", tmp_path / "run"
    data.mkdir()
    path = small_benchmarks.wise(data)
    prompts = scoring.BENCHMARKS["wise"].read_prompts(path)
    for sample in samples(prompts):
        folder = sample.folder(out)
        folder.mkdir(parents=True)
        for turn in (1, 2):
            (folder / f"turn{turn}.png").write_bytes(small_benchmarks.answer(sample.item.prompt))
    described = BenchmarkRun("wise", "custom", str(path), prompts.digest, 6, "irg", "", 0, "abc", 2, 0, {})
    write_json(out / FILE, dataclasses.asdict(described))
    return out


@pytest.fixture
def prefer(capfd, run, tmp_path):
    def ask(a="turn2", b="turn1", fault=lambda *_: None):
        with scoring.serve(fault) as server:
            return scoring.run(
                capfd, "prefer", f"--a={run / a}", f"--b={run / b}", f"--out={tmp_path / 'out'}",
                f"--config={commands.ROOT / 'configs' / 'judges.py'}", f"--config.judges.qwen.base_url={server.url}",
                "--config.judges.qwen.model=oracle", "--config.attempts=1",
            )  # fmt: skip

    return ask


def first(kind):
    return lambda number, _: Fault(kind) if number == 0 else None


def test_pairs_without_a_verdict_are_told_beside_the_win_rate(prefer):
    outcome = prefer(fault=first("nonsense"))
    assert outcome.status == 0, outcome
    assert "of 5 of 6 comparisons: the others were not answered in both orders" in outcome.printed
    assert any("unanswered" in line for line in outcome.lines)


def test_a_judge_that_changes_its_model_is_flagged(prefer):
    outcome = prefer(fault=first("model"))
    assert outcome.status == 0, outcome
    assert any("judge changed" in line and "oracle-other (" in line for line in outcome.lines)


def test_verdicts_on_other_turns_are_not_overwritten(prefer, tmp_path):
    assert prefer().status == 0
    before = (tmp_path / "out" / "preference.json").read_bytes()
    outcome = prefer("turn1", "turn2")
    assert outcome.status == 2 and "is about run turn 2 and run turn 1 of wise" in outcome.error
    assert (tmp_path / "out" / "preference.json").read_bytes() == before
    assert prefer().status == 0
