"""The notebook, executed from top to bottom with a few steps."""

import base64
import io
import os
import pathlib
import re

import nbclient
import nbformat
from PIL import Image

from tests import commands

ROOT = pathlib.Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "launch" / "colab" / "irg_inference.ipynb"
PROMPTS = ["a red circle", "a <b> & two crosses"]

# The notebook sets the steps, and the model is the one of the shipped base.
OWN = ("steps", "init_from", "data.tokenizer")
SMALL = {key: value for key, value in commands.SMALL.items() if key not in OWN and not key.startswith("model.")}


def _parameters(**changes):
    """The source of the parameters cell; by default for one or two steps per stage."""
    overrides = [f"--config.stages.{stage}.{key}={SMALL[key]}" for stage in ("stage1", "stage2") for key in SMALL]
    overrides += ["--config.evaluate.prompts=2", "--config.evaluate.batch_size=2"]
    values = {
        "REPOSITORY": "",
        "CHECKPOINT": "",
        "WORKDIR": "",
        "STEPS": 0.001,
        "OVERRIDES": overrides,
        "PROMPTS": PROMPTS,
    }
    return "\n".join(f"{name} = {value!r}" for name, value in (values | changes).items())


def _execute(parameters, cache):
    """Runs the whole notebook, raises if a cell fails, and returns the cells by id."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    (cell,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    names = re.compile(r"^(\w+) = ", re.MULTILINE)
    assert names.findall(parameters) == names.findall(cell.source)
    cell.source = parameters
    # One device, fast compilation, and a cache of compiled programs.
    environment = os.environ | {"XLA_FLAGS": " ".join(commands.FAST_COMPILATION)}
    environment["PYTHONPATH"] = str(ROOT)
    environment["JAX_COMPILATION_CACHE_DIR"] = str(cache)
    environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    environment["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
    client = nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(NOTEBOOK.parent)}})
    client.execute(env=environment)
    return {cell.id: cell for cell in notebook.cells}


def _shown(cell, mime):
    return [output.data[mime] for output in cell.outputs if mime in output.get("data", {})]


def test_the_notebook_has_no_outputs_and_explains_each_cell():
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    kinds = [cell.cell_type for cell in cells]
    assert kinds == ["markdown", *["markdown", "code"] * (len(kinds) // 2)]
    assert all(not cell.outputs and cell.execution_count is None for cell in cells if cell.cell_type == "code")


def test_the_notebook_trains_generates_and_reloads_the_checkpoint(tmp_path):
    trained = _execute(_parameters(WORKDIR=str(tmp_path / "run")), tmp_path / "cache")
    shown = _shown(trained["show"], "text/html")
    assert len(shown) == len(PROMPTS)
    assert "a red circle" in shown[0] and "a &lt;b&gt; &amp; two crosses" in shown[1]
    for block in shown:
        images = re.findall(r"data:image/png;base64,([^\"]+)", block)
        assert [Image.open(io.BytesIO(base64.b64decode(png))).size for png in images] == [(192, 192)] * 2
    assert len(_shown(trained["report"], "image/png")) == 1

    loaded = _execute(_parameters(CHECKPOINT=str(tmp_path / "run" / "stage2")), tmp_path / "cache")
    assert loaded["train"].outputs == []
    assert _shown(loaded["show"], "text/html") == shown
    assert "has no report" in loaded["report"].outputs[0].text
