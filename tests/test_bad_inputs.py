"""Bad input is one line that names what and where; the status is 2, and nothing is written."""

import json
import pathlib
import shutil

import numpy as np
import PIL.Image
import pytest

from irg_jax.checkpoints.bagel import to_orbax
from tests import commands, tiny

STAGE = ["train", "--config=shapes_stage1", "--workdir={tmp}/run"]
GENERATE = ["generate", "--checkpoint={converted}", "--out={tmp}/out"]
IRGL = """
from irg_jax.configs import shapes_stage1
from ml_collections import ConfigDict

def get_config():
    c = shapes_stage1.get_config()
    with c.unlocked():
        c.data.sources = ConfigDict(dict(irgl=dict(format="published", dir="", world=None)))
    c.data.update(batch_size=8, mixture=(("irgl", "initial_full_learning", 1.0, True),))
    return c
"""

FLAGS = [
    (["train", "--workdir={tmp}/run"], "--config is missing"),
    (["train", "--config=shapes_stage1"], "--workdir must have a value"),
    ([*STAGE, "--wrokdir=x"], "--wrokdir: unknown flag; did you mean --workdir?"),
    ([*STAGE, "extra"], "unexpected argument 'extra'"),
    ([*STAGE, "--profile=soon"], "--profile"),
    ([*STAGE, "--devices=8"], "--devices: is for --check_only"),
    ([*STAGE, "--devices=0"], "devices"),
    (["plan", "--config=shapes_stage1", "--topology=v9:2x2"], "v9"),
    (["plan", "--config=shapes_stage1", "--topology=h100:8", "--json={tmp}/none/plan.json"], "there is no folder"),
    (["plan", "--config=shapes_stage1", "--topology=h100:8", "--json={tmp}"], "is a folder; give a file"),
    (["bench", "train", "--config=shapes_stage1", "--plot={tmp}/growth.txt"], "must end with .png or .svg"),
    (["bench", "fly", "--config=shapes_stage1"], "'fly' is not one of"),
    (["evaluate", "helmet", "--checkpoint={converted}"], "'helmet' is not one of generate, score"),
    (["convert", "--from=tar:{tmp}/x", "--to=orbax:{tmp}/y"], "--from: 'tar:"),
    (["convert", "--check={bagel}", "--to=orbax:{tmp}/y"], "--to cannot be used with --check"),
]
CONFIG_VALUES = [
    ("seed=-1", "config.seed: -1 must be from 0"),
    ("steps=0", "config.steps: 0 must be at least 1"),
    ("steps=ten", "config.steps: 'ten' is not an int"),
    ("optim.lr=0.0", "config.optim.lr: 0.0 must be > 0"),
    ("optim.lr=nan", "config.optim.lr: nan must be > 0"),
    ("optim.b1=1.0", "config.optim.b1: 1.0 must be at least 0 and below 1"),
    ("optim.lrr=1.0", "config.optim.lrr: unknown key; did you mean lr?"),
    ("loss.timestep_shift=0.0", "config.loss.timestep_shift: 0.0 must be above 0"),
    ("loss.mse_weight=-1.0", "config.loss.mse_weight: -1.0 must be at least 0"),
    ("data.batch_size=0", "config.data.batch_size: 0 must be at least 1"),
    ("data.vae_image.min_size=999", "config.data.vae_image.max_size"),
    ("data.mixture=(('shapes', 'reading', 1.0, True),)", "reading"),
    ("data.dropout.text=1.5", "config.data.dropout.text: 1.5 must be a probability"),
    ("data.budgets.und=0", "config.data.budgets.und: 0 must be at least 1"),
    ("model.decoder.layers=0", "config.model.decoder.layers: 0 must be at least 1"),
    ("model.decoder.kv_heads=4", "config.model.decoder.kv_heads: 4 must divide"),
    ("mesh.fsdp=3", "config.mesh"),
    ("execution.attention=plian", "config.execution.attention: 'plian' is not one of"),
    ("checkpoint.every=0", "config.checkpoint.every: 0 must be at least 1"),
    ("sampling.time_points=1", "config.sampling.time_points: 1 must be at least 2"),
]
CONFIG_FILES = [
    ("def get_config(:", "bad.py:1: invalid syntax"),
    ("x = 1", "has no attribute 'get_config'"),
    ("def get_config():\n    return 1 / 0", "bad.py:2: ZeroDivisionError"),
    ("def get_config():\n    return {}", "get_config() gave dict"),
    ("import nowhere_at_all", "No module named 'nowhere_at_all'"),
]
CHECKPOINTS = [
    (["generate", "--checkpoint={tmp}/none", "--prompt=x", "--out={tmp}/out"], "none: no checkpoint here"),
    ([*GENERATE, "--prompt=x", "--step=7"], "no checkpoint of step 7; there are 0 in"),
    (["generate", "--checkpoint={cut}", "--prompt=x", "--out={tmp}/out"], "its files may be damaged"),
    (["export_lora", "--run={converted}", "--merged_out={tmp}/merged"], "was trained without LoRA"),
    (["export_base", "--checkpoint={converted}", "--out={tmp}/base"], "has no run.json that says how it was trained"),
    (["export_base", "--checkpoint={converted}", "--out={cut}"], "exists already; choose a new folder"),
    (["export_lora", "--run={converted}", "--merged_out={cut}"], "exists already; choose a new folder"),
    (["convert", "--from=bagel:{tmp}/none", "--to=orbax:{tmp}/out"], "none"),
    (["convert", "--from=bagel:{bagel}", "--to=orbax:{cut}"], "exists already"),
    (["convert", "--from=bagel:{short}", "--to=orbax:{tmp}/out"], "ema.safetensors"),
    (["convert", "--from=bagel:{dangling}", "--to=orbax:{tmp}/out"], "teaser.png"),
    (["evaluate", "heldout", "--checkpoint={converted}"], "was not trained on the shapes world"),
]
PROMPTS = [
    ([], "give either --prompt TEXT or --prompts FILE"),
    (["--prompt=x", "--prompts={tmp}/two.txt"], "give either --prompt TEXT or --prompts FILE"),
    (["--prompts={tmp}/none.txt"], "none.txt: cannot be read"),
    (["--prompts={tmp}/empty.txt"], "empty.txt: contains no prompt"),
    (["--prompts={tmp}/latin1.txt"], "latin1.txt: cannot be read"),
    (["--prompt=caf\udce9"], "--prompt has half of a surrogate pair at character 3"),
    (["--prompt=" + "a red circle and " * 9000], "more than sampling.max_prompt"),
    (["--prompt=x", "--thinking2={tmp}/two.txt"], "--thinking2 needs --thinking1 too"),
    (["--prompt=x", "--thinking1={tmp}/latin1.txt"], "--thinking1 {tmp}/latin1.txt: cannot be read"),
    (["--prompt=x", "--turns=3"], "turns: 3 is not 1 or 2"),
    (["--prompt=x", "--noise={tmp}/two.txt"], "two.txt: turn1 cannot be read"),
    (["--prompt=x", "--noise={tmp}/nan.npz"], "must be [tokens, channels] and finite"),
]
SAMPLING = [
    ("temperature=warm", "config.sampling.temperature: 'warm' is not a float"),
    ("temprature=1.0", "config.sampling.temprature: unknown key; did you mean temperature?"),
    ("image_size=32", "config.sampling.image_size: 32 is not a tuple"),
    ("image_size=(33,33)", "config.sampling.image_size"),
    ("timestep_shift=0", "config.sampling.timestep_shift: 0.0 must be above 0"),
    ("prompt_bucket=0", "config.sampling.prompt_bucket: 0 must be at least 1"),
    ("max_thinking=50", "config.sampling.max_thinking: 50 is not a tuple"),
    ("max_thinking=(0,0)", "config.sampling.max_thinking: (0, 0) must have room"),
    ("turn1=3", "config.sampling.turn1: 3 is not a section"),
    ("turn1.interval=(1,0)", "config.sampling.turn1.interval"),
    ("turn1.text_scale=x", "config.sampling.turn1.text_scale: 'x' is not a float"),
    ("time_points=3.5", "config.sampling.time_points: 3.5 is not an int"),
    ("temperature", "--sampling: 'temperature' is not KEY=VALUE"),
]
IMAGES = [
    (["--prompt=x", "--task=edit"], "--task edit: needs --image FILE"),
    (["--prompt=x", "--task=text_to_image", "--image=x.png"], "does not take --image FILE"),
    (["--prompt=x", "--image={tmp}/none.png"], "none.png: cannot be read"),
    (["--prompt=x", "--image={tmp}/two.txt"], "two.txt: an image cannot be decoded"),
    (["--prompt=x", "--image={tmp}/cut.png"], "cut.png: an image cannot be decoded"),
    (["--prompt=x", "--image={tmp}/float.tiff"], "float.tiff: a TIFF image of floats"),
]


def cases():
    yield from FLAGS
    yield from (([*STAGE, f"--config.{value}"], message) for value, message in CONFIG_VALUES)
    yield from (
        (["train", f"--config={{tmp}}/bad{i}/bad.py", "--workdir={tmp}/run"], CONFIG_FILES[i][1]) for i in range(5)
    )
    yield from ((["train", f"--config={{tmp}}/{name}", "--workdir={tmp}/run"], m) for name, m in JSON_FILES)
    yield from CHECKPOINTS
    yield from (([*GENERATE, *flags], message) for flags, message in [*PROMPTS, *IMAGES])
    yield from (([*GENERATE, "--prompt=x", f"--sampling={value}"], message) for value, message in SAMPLING)
    yield [*GENERATE[:2], "--out={tmp}/two.txt", "--prompt=x"], "--out: {tmp}/two.txt is a file"
    yield [*STAGE[:2], "--workdir={tmp}/two.txt", "--config.data.batch_size=8"], "two.txt"


JSON_FILES = [
    ("none.py", "no such config file"),
    ("list.json", "a config is a JSON object"),
    ("cut.json", "not a saved config"),
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The bad files, in a folder that has to stay as it is; and good and damaged checkpoints."""
    root = tmp_path_factory.mktemp("bad")
    there = {name: root / name for name in ("tmp", "bagel", "converted", "cut", "short", "dangling")}
    shutil.copytree(tiny.BAGEL_TINY / "bagel", there["bagel"])
    to_orbax.convert(there["bagel"], there["converted"], overwrite=False)
    shutil.copytree(there["converted"], there["cut"])
    for file in (there["cut"] / "checkpoints").rglob("*"):
        if file.is_file() and "ema" in str(file) and file.stat().st_size > 1000:
            file.write_bytes(file.read_bytes()[:500])
    for name in ("short", "dangling"):
        shutil.copytree(there["bagel"], there[name])
    weights = there["short"] / "ema.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    (there["dangling"] / "teaser.png").symlink_to("/nowhere/at/all")
    tmp = there["tmp"]
    tmp.mkdir()
    for i, (code, _) in enumerate(CONFIG_FILES):
        (tmp / f"bad{i}").mkdir()
        (tmp / f"bad{i}" / "bad.py").write_text(code)
    (tmp / "list.json").write_text("[1]")
    (tmp / "cut.json").write_text('{"seed": 1')
    (tmp / "two.txt").write_text("a red circle\na blue cross\n")
    (tmp / "empty.txt").write_text("\n \n")
    (tmp / "latin1.txt").write_bytes(b"caf\xe9\n")
    np.savez(tmp / "nan.npz", turn1=np.full((4, 4), np.nan), turn2=np.zeros((4, 4)))
    PIL.Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp / "cut.png")
    (tmp / "cut.png").write_bytes((tmp / "cut.png").read_bytes()[:60])
    PIL.Image.fromarray(np.zeros((8, 8), np.float32)).save(tmp / "float.tiff")
    return {name: str(path) for name, path in there.items()}


def content(folder):
    paths = (path for path in pathlib.Path(folder).rglob("*") if "__pycache__" not in path.parts)
    return {path: path.lstat().st_mtime_ns if path.is_file() else None for path in paths}


def outcome(capfd, *line):
    """Status and lines on stderr of a command."""
    done = commands.run_here(capfd, *line)
    return done.returncode, [text for text in done.stderr.splitlines() if text]


def test_sixty_and_more_are_planted():
    assert len(list(cases())) >= 60


@pytest.mark.parametrize(
    ("line", "message"), list(cases()), ids=lambda value: value if isinstance(value, str) else None
)
def test_bad_input_is_one_line_with_status_2_and_writes_nothing(capfd, folders, line, message):
    before = content(pathlib.Path(folders["tmp"]).parent)
    status, lines = outcome(capfd, *(part.format(**folders) if "{" in part else part for part in line))
    assert status == 2, lines
    assert len(lines) == 1 and lines[0].startswith("error: "), lines
    assert message.format(**folders) in lines[0]
    assert content(pathlib.Path(folders["tmp"]).parent) == before


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("not JSON", "part.parquet:0: conversation is not valid JSON"),
        (json.dumps([{"role": "critic", "content": "x"}]), 'conversation[0].role is "critic"'),
        (json.dumps([{"role": "user", "content": "\ud800"}]), "conversation[0].content has half of a surrogate pair"),
        (b"PAR1 and nothing else", "cannot be read as parquet"),
        (None, "no *.parquet files"),
    ],
)
def test_bad_data_are_one_line_with_status_2(capfd, folders, tmp_path, cell, message):
    import pyarrow as pa
    import pyarrow.parquet as pq

    for mode in ("initial_full_learning", "improving_full_learning"):
        folder = tmp_path / "set" / mode
        folder.mkdir(parents=True)
        if isinstance(cell, bytes):
            (folder / "part.parquet").write_bytes(cell)
        elif cell is not None:
            pq.write_table(pa.table({"conversation": [cell]}), folder / "part.parquet")
    (tmp_path / "irgl.py").write_text(IRGL)
    paths = {
        "config": tmp_path / "irgl.py",
        "workdir": tmp_path / "run",
        "config.data.sources.irgl.dir": tmp_path / "set",
    }
    paths["config.data.tokenizer"] = f"{folders['converted']}/tokenizer"
    status, lines = outcome(capfd, "train", *(f"--{name}={path}" for name, path in paths.items()))
    errors = [text for text in lines if text.startswith("error: ")]
    assert status == 2 and len(errors) == 1 and message in errors[0], lines
    assert not any("Traceback" in text for text in lines)
