"""The commands, files and sums of docs/evaluation.md are those of this code."""

import importlib
import json
import math
import re
import shlex
import subprocess
import sys

import pytest

from irg_jax import ablate, evaluate, train
from irg_jax.benchmarks import genai_bench, geneval, oneig
from irg_jax.benchmarks.benchmark import Item, PromptSet
from irg_jax.benchmarks.genai_bench.prompts import SCORED_ITEMS
from irg_jax.benchmarks.genai_bench.vqascore import read_rows
from irg_jax.benchmarks.geneval.detections import read_detections
from irg_jax.benchmarks.oneig.score_files import read_scores
from irg_jax.benchmarks.tiif.attributes import LENGTHS, SIZES
from irg_jax.core.config.command_line import run_command
from irg_jax.evaluation.benchmarks import BENCHMARKS
from irg_jax.evaluation.scoring import FILES
from irg_jax.experiment.config import parse_config
from tests import commands

PAGE = (commands.ROOT / "docs/evaluation.md").read_text(encoding="utf-8")
SHELL = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
LINES = [
    line.strip().replace("$variant", "six_modes").replace("$turns", "2")
    for block in SHELL
    for line in block.replace("\\\n", " ").splitlines()
]
COMMANDS = [shlex.split(line)[2:] for line in LINES if line.startswith("python -m irg_jax.")]
EVALUATE = [words[1:] for words in COMMANDS if words[0] == "irg_jax.evaluate"]
SECONDS, TOKENS_PER_SECOND, PER_HOUR = 60.58, 5000, 3.00


@pytest.mark.parametrize("words", EVALUATE, ids=" ".join)
def test_a_command_of_evaluate_is_accepted(words, tmp_path, monkeypatch, capfd):
    (tmp_path / "judges.py").write_text(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0])
    monkeypatch.chdir(tmp_path)
    seen = []
    monkeypatch.setattr(importlib.import_module(f"irg_jax.evaluation.commands.{words[0]}"), "main", seen.append)
    if words[0] in ("generate", "detect", "measure"):  # these have no config and no folders
        monkeypatch.setattr(
            importlib.import_module(f"irg_jax.evaluation.commands.{words[0]}"), "main", lambda: seen.append(None)
        )
    with pytest.raises(SystemExit) as end:
        evaluate.main(["evaluate", *words])
    assert end.value.code in (None, 0), capfd.readouterr().err
    judges = [word.partition("=")[2] or following for word, following in zip(words, [*words[1:], ""], strict=True)
              if word.startswith("--judge")]  # fmt: skip
    assert len(seen) == 1 and all(name in seen[0].judges for name in judges)


@pytest.mark.parametrize("words", [words for words in COMMANDS if words[0] != "irg_jax.evaluate"], ids=" ".join)
def test_a_command_of_the_ablation_is_accepted(words, capfd):
    module, parse = {"irg_jax.train": (train, parse_config), "irg_jax.ablate": (ablate, None)}[words[0]]
    with pytest.raises(SystemExit) as end:
        run_command(lambda *config: None, parse, words, flag_values=module.FLAGS)
    assert end.value.code in (None, 0), capfd.readouterr().err


def test_every_command_of_evaluate_but_heldout_is_shown():
    assert {words[0] for words in EVALUATE} == set(evaluate.COMMANDS) - {"heldout"}
    assert len(COMMANDS) == sum("python -m irg_jax." in line for line in LINES)


@pytest.mark.parametrize("benchmark", FILES)
def test_every_file_of_a_benchmark_is_in_its_section_and_no_other(benchmark):
    section = PAGE.partition(f"\n### {BENCHMARKS[benchmark].TITLE}")[2].partition("\n### ")[0].partition("\n## ")[0]
    table = section.partition("| `--file` |")[2].partition("\n\n")[0]
    names = [name for row in re.findall(r"^\| (`[^|]*)\|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)]
    assert sorted(names) == sorted(FILES[benchmark])
    assert set(re.findall(r"--file (\w+)=", section)) <= set(FILES[benchmark])


def test_the_examples_of_files_are_read(tmp_path):
    detections, vqascores, cosines = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "detections.jsonl").write_text(detections)
    assert read_detections(tmp_path / "detections.jsonl").images["00012", 0]["bench"][0].color == "red"
    (tmp_path / "scores.json").write_text(vqascores)
    items = tuple(Item(f"0000{n}", "a cat", "basic: scene", 1, {}) for n in range(2))
    prompts = PromptSet(genai_bench.NAME, "custom", items, "", 1600)
    assert [row.values["score"] for row in read_rows(prompts, tmp_path / "scores.json")] == [0.83, 0.41]
    (tmp_path / "cosines.json").write_text(cosines)
    items = tuple(Item(key, "why", "reasoning", oneig.prompts.SAMPLES, {}) for key in json.loads(cosines))
    assert math.isnan(read_scores(tmp_path / "cosines.json", items)["reasoning/000"][2])


def test_the_template_is_taken_out_of_a_script_as_it_stands(tmp_path):
    template = 'Marks, please.  \nPROMPT: "{prompt_data[\'Prompt\']}"\nÄ, "quoted"'
    (tmp_path / "script.py").write_text(
        f'def f(prompt_data, n):\n    print(f"try {{n}}")\n    return f"""{template} """\n'
    )
    code = next(block for block in SHELL if "JoinedStr" in block).partition("<<'EOF'\n")[2].partition("EOF")[0]
    subprocess.run(
        [sys.executable, "-", tmp_path / "script.py", tmp_path / "out.txt"], input=code, text=True, check=True
    )
    assert (tmp_path / "out.txt").read_text(encoding="utf-8") == f"{template} "


def rows_of(head: str) -> list[list[str]]:
    """The cells of the table that begins with ``head``, without commas in numbers."""
    lines = (head + PAGE.partition(head)[2]).partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip().replace(",", "") for cell in line.strip("|").split("|")] for line in lines]


def test_the_images_and_their_cost_add_up():
    *rows, total = rows_of("| benchmark | prompts | samples |")
    tiif = len(LENGTHS) * sum(SIZES["testmini"].values())
    assert [(int(row[1]), int(row[2])) for row in rows] == [
        (geneval.prompts.ITEMS, geneval.prompts.SAMPLES), (1000, 1), (tiif, 1), (1600, 1),
        (oneig.prompts.ITEMS, oneig.prompts.SAMPLES),
    ]  # fmt: skip
    assert all(int(row[3]) == int(row[1]) * int(row[2]) for row in rows)
    assert int(total[3]) == sum(int(row[3]) for row in rows)
    for row in [*rows, total]:
        hours = int(row[3]) * SECONDS / 3600
        assert (row[4], row[5]) == (f"{hours:.1f}", f"{hours * PER_HOUR:.2f}"), row[0]


def test_the_calls_of_judges_and_their_cost_add_up():
    rows = rows_of("| what | judge | calls |")
    calls = {row[0]: int(row[2]) for row in rows}
    assert calls["GenAI-Bench"] == SCORED_ITEMS
    assert (
        calls["OneIG-Bench alignment"] == 11231 * oneig.prompts.SAMPLES
        and calls["OneIG-Bench text"] == 200 * oneig.prompts.SAMPLES
    )
    for what, _, n, images, image, characters, read, written, price_in, price_out, gpus, hours, dollars in rows:
        if characters:
            assert int(read) == 10 * math.ceil((int(images) * int(image) + int(characters) / 4) / 10), what
        if gpus:
            spent = int(n) * int(read) / TOKENS_PER_SECOND / 3600 * int(gpus)
            assert (hours, dollars) == (f"{spent:.2f}", f"{spent * PER_HOUR:.2f}"), what
        else:
            paid = int(n) * (int(read) * float(price_in) + int(written) * float(price_out)) / 1e6
            assert dollars == f"{paid:.2f}", what


def test_the_official_judges_of_the_page_are_those_of_the_code():
    wise = importlib.import_module("irg_jax.benchmarks.wise.judge").PROTOCOLS
    tiif = importlib.import_module("irg_jax.benchmarks.tiif.judge").OFFICIAL_JUDGE
    scored = importlib.import_module("irg_jax.evaluation.scoring.oneig").OFFICIAL_JUDGE
    for name in (wise["legacy"].judge, wise["verified"].judge, tiif, scored):
        assert f"`{name}`" in PAGE.partition("## Each benchmark")[2].partition("## Which turn")[0]
