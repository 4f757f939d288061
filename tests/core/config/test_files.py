"""Config files: by path or by name, from anywhere; their JSON; what is wrong with one, in one line."""

import pathlib
import shutil
import subprocess
import sys
import zipfile

import pytest
from ml_collections import ConfigDict

from irg_jax.core.config.files import from_json, load, to_json
from irg_jax.core.errors import UserError
from irg_jax.curation.config import CurateConfig
from irg_jax.curation.config import parse_config as parse_curation
from irg_jax.evaluation.config import JudgesConfig, parse_judges
from irg_jax.experiment.config import ExperimentConfig
from irg_jax.experiment.config import parse_config as parse_experiment
from irg_jax.training.config import StageConfig

ROOT = pathlib.Path(__file__).resolve().parents[3]
# Of the other configs: parse_experiment.
PARSERS = {"curate": parse_curation, "shapes_irg_curate": parse_curation, "judges": parse_judges}
KINDS = {"curate": CurateConfig, "shapes_irg_curate": CurateConfig, "judges": JudgesConfig}
SHIPPED = sorted(path.stem for path in (ROOT / "configs").glob("[a-z]*.py"))


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_config_is_whole_by_name_and_by_path(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    parse_config = PARSERS.get(name, parse_experiment)
    config = parse_config(load(name))
    assert isinstance(config, KINDS.get(name, StageConfig | ExperimentConfig))
    assert parse_config(load(ROOT / "configs" / f"{name}.py")) == config
    assert parse_config(from_json(to_json(config))) == config, "a saved config repeats the run"


def test_a_config_of_ones_own_imports_the_shipped_ones(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from irg_jax.configs import shapes_stage1\n\n"
        "def get_config(steps='70'):\n    c = shapes_stage1.get_config()\n    c.steps = int(steps)\n    return c\n"
    )
    assert parse_experiment(load(tmp_path / "mine.py")).steps == 70
    assert parse_experiment(load(f"{tmp_path / 'mine.py'}:60")).steps == 60


def test_a_shipped_config_takes_an_argument_too():
    assert parse_experiment(load("shapes_ablation:one_turn,3")).stages["stage1"].seed == 3


def test_an_installed_package_brings_its_configs_and_its_weights(tmp_path):
    """A wheel's configs load where no repository is: installed into an empty folder, run from another one."""
    source, site = tmp_path / "source", tmp_path / "site"
    for name in ("irg_jax", "configs"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source / name)
    # The files of a checkpoint have no endings, and lie deep.
    weights = "irg_jax/pretrained/some_base/checkpoints/00000000/ema/d/0123abcd"
    (source / weights).parent.mkdir(parents=True)
    (source / weights).write_bytes(b"weights")
    build = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", build, tmp_path], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(site)
    assert sorted(path.stem for path in (site / "irg_jax/configs").glob("[a-z]*.py")) == SHIPPED
    assert (site / weights).read_bytes() == b"weights"
    script = (
        "from irg_jax.core.config.files import load\n"
        "from irg_jax.curation.config import parse_config as parse_curation\n"
        "from irg_jax.curation.template import load_templates\n"
        "from irg_jax.evaluation.config import parse_judges\n"
        "from irg_jax.experiment.config import parse_config\n"
        f"assert load.__code__.co_filename.startswith({str(tmp_path)!r}), load.__code__.co_filename\n"
        f"[parse_config(load(name)) for name in {SHIPPED!r} if name not in {list(PARSERS)!r}]\n"
        "[parse_curation(load(name)) for name in ('curate', 'shapes_irg_curate')]\n"
        "parse_judges(load('judges'))\n"
        "load_templates(None)\n"
    )
    # -I leaves out the folder of the repository and every environment variable; the site comes first.
    script = f"import sys; sys.path.insert(0, {str(site)!r})\n" + script
    found = subprocess.run([sys.executable, "-I", "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr


def test_json_keeps_every_type():
    values = {"i": 1, "f": 1.0, "big": 1e22, "b": True, "n": None, "s": "1.0", "t": (1, 1.0, ("x", None)), "e": ()}
    config = ConfigDict({**values, "section": {"f": 2.0}, "empty": {}}).lock()
    again = from_json(to_json(config))
    assert again == config and types(again) == types(config)


def types(value):
    if isinstance(value, ConfigDict):
        return {key: types(inner) for key, inner in value.items()}
    return [types(inner) for inner in value] if isinstance(value, tuple) else type(value)


def test_a_value_that_json_cannot_hold_is_refused():
    with pytest.raises(UserError, match="config.optim.fn: a function cannot be in a config"):
        to_json(ConfigDict({"optim": {"fn": types}}))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("shapes_quickstrat", None, "no such config file; did you mean shapes_quickstart or "),
        ("configs/none.py", None, "no such config file"),
        ("x.py", "def get_config(:", "x.py:1: invalid syntax"),
        ("x.py", "\ndef get_config():\n  return oops\n", "x.py:3: NameError: name 'oops' is not defined"),
        ("x.py", "", "has no attribute 'get_config'"),
        ("x.py", "def get_config(): return {}", "get_config() gave dict, not a ml_collections.ConfigDict"),
        ("x.txt", "steps = 1", "x.txt: not a config; give a .py with get_config(), or a saved config.json"),
        ("x.json", '{"a": ', "not a saved config: Expecting value"),
        ("x.json", "[1]", "not a saved config: a config is a JSON object"),
    ],
)
def test_a_wrong_file_is_named_in_one_line(tmp_path, monkeypatch, name, text, message):
    monkeypatch.chdir(tmp_path)
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(UserError) as error:
        load(name)
    assert message in str(error.value) and name in str(error.value)
