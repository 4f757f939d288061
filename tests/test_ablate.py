"""The ablation at its smallest: every variant runs, the table has a row per variant, a second call trains nothing."""

import time

from tests import commands

CONFIG = """
from configs import shapes_ablation, template

VARIANTS = {name: shapes_ablation.VARIANTS[name] for name in ("base", "one_turn")}


def get_config(which):
    c = shapes_ablation.get_config(which)
    stage = c.stages.stage1
    stage.steps = 2
    stage.init_from, stage.data.tokenizer = "", "{workdir}/data/tokenizer"
    stage.optim.warmup_steps = 0
    stage.data.batch_size = 1
    stage.data.sources.shapes.world.update(train=30, held_out=6)
    stage.model.decoder.update(hidden=16, layers=1, mlp=16, vocab=640)
    stage.model.vit.layers = 1
    stage.model.vae = template.get_config().model.vae  # which has no weights
    stage.model.max_latent_size = 8
    stage.data.budgets.gen = 192
    stage.sampling.update(prompt_bucket=8, time_points=3, max_thinking=(8, 12))
    c.evaluate.update(prompts=6, batch_size=6, perception=6, controls=6)
    return c
"""


def test_the_table_has_a_row_per_variant_and_a_second_call_trains_nothing(tmp_path):
    file, out = tmp_path / "small.py", tmp_path / "ablation.md"
    file.write_text(CONFIG)
    flags = [f"--variants={file}", f"--workdir={tmp_path / 'runs'}", f"--out={out}", "--seeds=1"]
    done = commands.run("ablate", *flags)
    assert done.returncode == 0, done.stderr
    text = out.read_text()
    assert "2 steps of 1 rows" in text and "over 1 seed(s)" in text
    rows = [line.split("|") for line in text.split("## ")[0].splitlines() if line.startswith("| `")]
    assert [row[1].strip() for row in rows] == ["`base`", "`one_turn`"]
    assert all(0 <= float(row[column]) <= 1 for row in rows for column in (3, 4, 6, 7))
    assert "[" in rows[0][5]  # an interval
    assert done.stderr.count("controls leave out 6 of 6 samples") == 2  # random weights write what no text can be
    scores = [(tmp_path / "runs" / name / "0" / "scores.json") for name in ("base", "one_turn")]
    times = [path.stat().st_mtime for path in scores]
    start = time.monotonic()
    assert commands.run("ablate", *flags).returncode == 0
    assert [path.stat().st_mtime for path in scores] == times
    assert time.monotonic() - start < 60
