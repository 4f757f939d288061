"""A config comes from a file and a command line, survives its JSON, and says in one line what is wrong with it."""

import os
import pathlib
import subprocess
import sys

import pytest
from ml_collections import ConfigDict

from irg_jax import config as config_lib
from irg_jax.errors import UserError

CONFIG = '''
"""A config with every kind of value."""
from ml_collections import ConfigDict

def get_config(variant="plain"):
    return ConfigDict({
        "seed": 0,
        "steps": 100,
        "variant": variant,
        "optim": {"lr": 1e-3, "warmup": 10, "nesterov": False, "clip": 1.0},
        "data": {"dir": "{workdir}/data", "mixture": [["full", 1.0], ["initial", 0.5]], "sizes": (64, 32)},
        "init": {"ema": None},
    })
'''


@pytest.fixture
def config_file(tmp_path):
    file = tmp_path / "tiny.py"
    file.write_text(CONFIG)
    return file


def run(*args):
    """Runs a command in this process; gives the config that it was called with."""
    seen = []
    with pytest.raises(SystemExit) as exit_:
        config_lib.run(seen.append, ["command", *map(str, args)])
    assert exit_.value.code is None, f"exit status {exit_.value.code}"
    return seen[0]


def run_error(capsys, *args):
    """Runs a command that must fail before ``main``; gives its one line."""
    with pytest.raises(SystemExit) as exit_:
        config_lib.run(lambda _: pytest.fail("main was called"), ["command", *map(str, args)])
    lines = capsys.readouterr().err.splitlines()
    assert exit_.value.code == 2 and len(lines) == 1 and lines[0].startswith("error: "), (exit_.value.code, lines)
    return lines[0]


def test_a_file_and_overrides_in_any_order(config_file):
    config = run("--config.optim.lr=1e-4", "--config", config_file, "--config.steps", "7", "--config.optim.nesterov")
    assert (config.optim.lr, config.steps, config.optim.nesterov) == (1e-4, 7, True)
    assert config.optim.warmup == 10 and config.is_locked


def test_values_take_the_type_of_the_field(config_file):
    config = run(f"--config={config_file}", "--config.optim.clip=2", "--config.data.dir=12", "--config.init.ema=runs/1")
    assert (config.optim.clip, config.data.dir, config.init.ema) == (2.0, "12", "runs/1")
    assert isinstance(config.optim.clip, float)


def test_sequences_are_tuples_wherever_they_come_from(config_file):
    assert run(f"--config={config_file}").data.mixture == (("full", 1.0), ("initial", 0.5))
    config = run(f"--config={config_file}", "--config.data.mixture=[('full', 3)]", "--config.data.sizes=(8,)")
    assert config.data.mixture == (("full", 3),) and config.data.sizes == (8,)


def test_get_config_may_take_an_argument(config_file):
    assert run(f"--config={config_file}:other").variant == "other"


def test_one_command_after_another_starts_afresh(config_file):
    run(f"--config={config_file}", "--config.steps=7")
    assert run(f"--config={config_file}").steps == 100


def test_a_saved_config_repeats_the_run_and_takes_overrides(config_file, tmp_path):
    first = run(f"--config={config_file}", "--config.optim.clip=2", "--config.init.ema=3")
    config_lib.save(first, tmp_path / "config.json")
    again = run(f"--config={tmp_path / 'config.json'}")
    assert again == first and types(again) == types(first)
    over = run(f"--config={tmp_path / 'config.json'}", "--config.optim.clip=3", "--config.data.sizes=(1, 2, 3)")
    assert (over.optim.clip, over.data.sizes, over.optim.lr) == (3.0, (1, 2, 3), 1e-3)


def test_json_keeps_every_type():
    values = {"i": 1, "f": 1.0, "big": 1e22, "b": True, "n": None, "s": "1.0", "t": (1, 1.0, ("x", None)), "e": ()}
    config = ConfigDict({**values, "section": {"f": 2.0}, "empty": {}}).lock()
    again = config_lib.from_json(config_lib.to_json(config))
    assert again == config and types(again) == types(config)


def types(value):
    if isinstance(value, ConfigDict):
        return {key: types(inner) for key, inner in value.items()}
    return [types(inner) for inner in value] if isinstance(value, tuple) else type(value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("--config.optim.lrr=1", "config.optim.lrr: unknown key; did you mean lr?; allowed here: clip, lr, "),
        ("--config.lr=1", "config.lr: unknown key; did you mean optim.lr?; allowed here: data, init, "),
        ("--config.steps.x=1", "config.steps.x: unknown key; steps is an int, it has no keys"),
        ("--config.optim={}", "config.optim: is a section; set one of its keys: clip, lr, nesterov, warmup"),
        ("--config.steps=many", "config.steps: 'many' is not an int; its value so far is 100"),
        ("--config.steps=1e3", "config.steps: '1e3' is not an int"),
        ("--config.optim.lr=fast", "config.optim.lr: 'fast' is not a float; its value so far is 0.001"),
        ("--config.optim.nesterov=maybe", "config.optim.nesterov: 'maybe' is not a bool"),
        ("--config.data.sizes=abc", "config.data.sizes: 'abc' is not an int; expected a tuple such as (64, 32)"),
        ("--config.data.sizes=(1,", "config.data.sizes: '(1,' is not a tuple"),
        ("--config.steps", "config.steps"),
        ("--confg.steps=1", "--confg.steps: unknown flag; did you mean --config?"),
        ("--hepl", "--hepl: unknown flag; did you mean --help"),
        ("steps=1", "unexpected argument 'steps=1'"),
    ],
)
def test_a_wrong_override_is_one_line_that_says_what_is_allowed(capsys, config_file, override, message):
    assert message in run_error(capsys, f"--config={config_file}", override)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("none.py", None, "no such config file"),
        ("x.py", "def get_config(:", "x.py:1: invalid syntax"),
        ("x.py", "\ndef get_config():\n  return oops\n", "x.py:3: NameError: name 'oops' is not defined"),
        ("x.py", "", "has no attribute 'get_config'"),
        ("x.py", "def get_config(): return {}", "get_config() gave dict, not a ml_collections.ConfigDict"),
        ("x.json", '{"a": ', "not a saved config: Expecting value"),
        ("x.json", "[1]", "not a saved config: a config is a JSON object"),
    ],
)
def test_a_wrong_file_is_one_line_that_names_it(capsys, tmp_path, name, text, message):
    if text is not None:
        (tmp_path / name).write_text(text)
    line = run_error(capsys, f"--config={tmp_path / name}")
    assert message in line and name in line


def test_a_config_is_required(capsys):
    assert "--config is missing" in run_error(capsys)


def test_a_value_that_json_cannot_hold_is_refused():
    with pytest.raises(UserError, match="config.optim.fn: a function cannot be in a config"):
        config_lib.to_json(ConfigDict({"optim": {"fn": run}}))


def test_check_keys_names_the_first_key_that_is_wrong():
    reference = ConfigDict({"steps": 1, "optim": {"lr": 1.0, "decay": 0.1, "path": None}})

    def wrong(values):
        with pytest.raises(UserError) as error:
            config_lib.check_keys(ConfigDict(values), reference)
        return str(error.value)

    config_lib.check_keys(ConfigDict({"steps": 2, "optim": {"lr": 2, "decay": None, "path": "x"}}), reference)
    optim = {"lr": 1.0, "decay": 0.1, "path": None}
    assert "config.optim.dekay: unknown key; did you mean decay?" in wrong({"steps": 1, "optim": {**optim, "dekay": 1}})
    assert "config.steps: missing key" in wrong({"optim": optim})
    assert "config.steps: 1.5 is not an int" in wrong({"steps": 1.5, "optim": optim})
    assert "config.optim: 3 is not a section" in wrong({"steps": 1, "optim": 3})


def test_choose_and_require_name_the_key():
    assert config_lib.choose("full", "data.mode", ("full", "initial")) == "full"
    with pytest.raises(
        UserError, match=r"config.data.mode: 'ful' is not allowed; did you mean full\?; allowed: full, in"
    ):
        config_lib.choose("ful", "data.mode", ("full", "initial"))
    with pytest.raises(UserError, match="config.steps: must be positive"):
        config_lib.require(0 > 1, "steps", "must be positive")


def test_resolve_puts_the_workdir_into_a_copy():
    config = ConfigDict({"data": {"dir": "{workdir}/data"}, "files": ("{workdir}/a", 1)})
    resolved = config_lib.resolve(config, "/runs/7")
    assert resolved.data.dir == "/runs/7/data" and resolved.files == ("/runs/7/a", 1)
    assert config.data.dir == "{workdir}/data"


def test_save_replaces_the_whole_file_or_nothing(tmp_path):
    config_lib.save(ConfigDict({"a": 1}), tmp_path / "config.json")
    config_lib.save(ConfigDict({"a": 2}), tmp_path / "config.json")
    assert config_lib.load(tmp_path / "config.json").a == 2
    assert [file.name for file in tmp_path.iterdir()] == ["config.json"]
    with pytest.raises(UserError, match="nowhere/config.json: cannot write the config: No such file or directory"):
        config_lib.save(ConfigDict({"a": 1}), tmp_path / "nowhere" / "config.json")


def test_a_command_as_a_user_runs_it(config_file, tmp_path):
    """Own flags beside the config; a UserError is one line and 2; a bug keeps its traceback; Ctrl-C is 130."""
    command = tmp_path / "command.py"
    command.write_text("""
from absl import flags
from irg_jax import config
from irg_jax.errors import UserError
WORKDIR = flags.DEFINE_string("workdir", None, "where", required=True)
def main(c):
    if c.steps == 1: raise UserError("data is\\nbad")
    if c.steps == 2: raise KeyboardInterrupt
    if c.steps == 3: raise RuntimeError("bug")
    print(WORKDIR.value, c.steps)
config.run(main)
""")

    env = {**os.environ, "PYTHONPATH": str(pathlib.Path(config_lib.__file__).parents[1])}

    def outcome(*args):
        done = subprocess.run(
            [sys.executable, command, "--config", config_file, *args], env=env, capture_output=True, text=True
        )
        return done.returncode, done.stdout, done.stderr

    assert outcome("--workdir", "w", "--config.steps=5") == (0, "w 5\n", "")
    assert outcome("--workdir=w", "--config.steps=1") == (2, "", "error: data is bad\n")
    assert outcome("--workdir=w", "--config.steps=2") == (130, "", "interrupted\n")
    assert outcome("--workdir=w", "--config.steps=3")[2].startswith("Traceback")
    assert outcome("--workdir=w", "--workdri=w")[2] == "error: --workdri: unknown flag; did you mean --workdir?\n"
    assert outcome()[2] == "error: --workdir must have a value other than None.\n"
