"""The command as a user gives it: what it prints, and bad flags in one line."""

import json
import re

import numpy as np
import pytest

from irg_jax import build_data
from irg_jax.core.errors import UserError
from irg_jax.data import modes
from irg_jax.data.importing import stats
from irg_jax.data.packing import layout
from irg_jax.data.processor import Processor
from irg_jax.data.tokenizer import Tokenizer
from irg_jax.worlds.shapes import dataset
from tests import commands, tiny

TOY = tiny.BAGEL_TINY.parent / "toy_dataset"
TOKENIZER = tiny.BAGEL_TINY / "bagel"


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    out = tmp_path_factory.mktemp("build") / "toy"
    done = commands.run("build_data", "irgl", "--from", f"parquet:{TOY}", f"--out={out}", "--held_out=0.2")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{out}: train 21, held_out 3\n"
    assert "120 rows merged" in done.stderr
    return out


def test_building_again_prints_the_same(toy, capfd):
    done = commands.run_here(capfd, "build_data", "irgl", f"--from=parquet:{TOY}", f"--out={toy}", "--held_out=0.2")
    assert done.returncode == 0 and "is built already" in done.stderr
    assert done.stdout == f"{toy}: train 21, held_out 3\n"


def test_stats_are_printed_and_plotted(toy, tmp_path, capfd):
    plot = tmp_path / "stats.png"
    flags = [f"--tokenizer={TOKENIZER}", "--max_tokens=2000", f"--plot={plot}"]
    done = commands.run_here(capfd, "build_data", "stats", toy, *flags)
    assert done.returncode == 0, done.stderr
    lines = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines() if line.strip()}
    assert lines["train"] == ["21"] and lines["held_out"] == ["3"]
    assert lines["improving_full_learning"][:2] == ["24", "100.00%"]
    assert lines["initial_full_learning"][:2] == ["24", "0.00%"]
    assert lines["prompt"][0] == "24" and lines["image1"] == ["height", "24", *["256"] * 5]
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_stats_proposes_budgets_for_the_shipped_stages(toy, capfd):
    done = commands.run_here(capfd, "build_data", "stats", toy, f"--tokenizer={TOKENIZER}", "--budgets=40000")
    assert done.returncode == 0, done.stderr
    for stage, line in zip(("stage 1", "stage 2"), done.stdout.splitlines(), strict=True):
        start = rf"{stage}: c.data.budgets.update\(und=(\d+), gen=(\d+), vit="
        und, gen, *fill = map(float, re.match(rf"{start}.*# filled to (\S+) and (\S+)$", line).groups())
        assert 38_900 < und + gen <= 40_000 and all(0.5 < share <= 1 for share in fill)


def test_stats_without_a_tokenizer_are_of_characters(toy, capsys):
    found = stats.collect(toy)
    longest = max(len(record.thinking2) for _, record in stats.read(toy))
    assert found.lengths["thinking2"].max() == longest and not found.in_tokens
    text = stats.describe(found, 1)
    assert "texts, in characters" in text and "give --tokenizer" in text and "over 1 tokens" not in text


@pytest.mark.parametrize("mode", modes.MODES)
def test_the_tokens_of_a_sample_are_those_of_its_conversation(toy, mode):
    found = stats.collect(toy, TOKENIZER)
    processor = Processor(Tokenizer(TOKENIZER), stats.VAE, stats.VIT)
    table = modes.learning_mode(mode)
    conversations = [modes.conversation(record, table) for _, record in stats.read(toy)]
    # A cost is tokens of understanding and of generation, then what they are in part.
    wanted = [sum(sum(s.cost[:2]) for s in layout.segments(one, processor)) for one in conversations]
    np.testing.assert_array_equal(stats.tokens(found, table), wanted)


def test_stats_of_records_with_some_fields_only(tmp_path):
    (tmp_path / "in.jsonl").write_text(
        json.dumps({"prompt": "a"}) + "\n" + json.dumps({"prompt": "b", "thinking1": "c"})
    )
    build_data.build.build(f"records:{tmp_path / 'in.jsonl'}", str(tmp_path / "out"), build_data.build.Options())
    found = stats.collect(tmp_path / "out", TOKENIZER)
    counts = {name: int(stats.members(found, mode).sum()) for name, mode in modes.MODES.items()}
    assert {name: count for name, count in counts.items() if count} == {"initial_thinking_generation_learning": 1}
    assert "improving_full_learning" in stats.describe(found, 10)


def test_stats_of_the_shapes_world(tmp_path):
    dataset.build(tmp_path / "shapes", seed=0, train=6, held_out=2)
    found = stats.collect(tmp_path / "shapes")
    assert sorted(found.splits) == ["held_out"] * 2 + ["train"] * 6


BAD = [
    ([], "'' is not one of irgl, stats"),
    (["stat"], "'stat' is not one of irgl, stats; did you mean stats?"),
    (["irgl", "more"], "unexpected argument 'more'"),
    (["irgl", "--out={tmp}/x"], "--from must have a value"),
    (["irgl", "--from=parquet:{tmp}"], "--out must have a value"),
    (["irgl", "--from={tmp}", "--out={tmp}/x"], "is not KIND:PATH with one of parquet, records, folder, hf"),
    (["irgl", "--from=parqet:{tmp}", "--out={tmp}/x"], "did you mean parquet?"),
    (["irgl", "--from=parquet:{tmp}", "--out={tmp}/x"], "has no folder of a learning mode"),
    (["irgl", "--from=records:{tmp}/none", "--out={tmp}/x"], "none: cannot be read (No such file or directory)"),
    (["irgl", "--from=records:{tmp}/empty", "--out={tmp}/x"], "empty: has no lines"),
    (["irgl", "--from=folder:{tmp}/none", "--out={tmp}/x"], "none: no such folder"),
    (["irgl", "--from=folder:{tmp}", "--out={tmp}/x"], "has no images"),
    (["irgl", "--from=hf:{tmp}", "--out={tmp}/x"], "has no *.parquet files"),
    (["irgl", "--from=hf:{tmp}", "--out={tmp}/x", "--columns=prompt"], "'prompt' is not FIELD=COLUMN"),
    (["irgl", "--from=folder:{tmp}", "--out={tmp}/x", "--columns=prompt=x"], "--columns: is for --from hf:DIR"),
    (["irgl", "--from=records:{tmp}/empty", "--out={tmp}/empty"], "--out: {tmp}/empty is a file"),
    (["irgl", "--from=records:{tmp}/empty", "--out={tmp}/x", "--held_out=2.5"], "neither a share below 1 nor a whole"),
    (["irgl", "--from=records:{tmp}/empty", "--out={tmp}/x", "--held_out=-1"], "held_out"),
    (
        ["irgl", "--from=records:{tmp}/empty", "--out={tmp}/x", "--plot=x.png"],
        "--plot: is for stats",
    ),
    (["stats"], "give one data set"),
    (["stats", "{tmp}"], "no data set here"),
    (["stats", "{tmp}", "--out={tmp}/x"], "--out: is for irgl, not for stats"),
    (["stats", "{tmp}", "--plot={tmp}/x.txt"], "must end with .png"),
    (["stats", "{tmp}", "--plot={tmp}/none/x.png"], "there is no folder"),
]


@pytest.mark.parametrize(("line", "message"), BAD)
def test_bad_input_is_one_error_that_says_what(tmp_path, monkeypatch, line, message):
    monkeypatch.setattr(build_data, "log_plainly", lambda: None)  # it changes the logging of this process
    (tmp_path / "empty").write_text("")
    arguments = [part.format(tmp=tmp_path) for part in line]
    positional = [part for part in arguments if not part.startswith("-")]
    flags = [part for part in arguments if part.startswith("-")]
    before = sorted(tmp_path.iterdir())
    with pytest.raises((UserError, SystemExit)) as caught:
        parse(flags)
        build_data.main(*positional)
    assert message.format(tmp=tmp_path) in str(caught.value) and "\n" not in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before


def parse(flags):
    from irg_jax.core.config import command_line

    command_line._parse_flags(build_data.FLAGS, ["build_data", *flags])


def test_an_error_is_one_line_with_status_2(tmp_path):
    done = commands.run("build_data", "irgl", f"--from=folder:{tmp_path}", f"--out={tmp_path / 'out'}")
    assert done.returncode == 2 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
