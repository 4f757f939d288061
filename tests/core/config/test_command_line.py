"""A command line: flags, a config with overrides, and errors in one line."""

import os
import pathlib
import subprocess
import sys

import pytest

from irg_jax.core.config.command_line import run_command
from irg_jax.core.config.files import to_json
from irg_jax.core.errors import StorageError, UserError

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
        "init_from": None,
    })
'''

ROOT = pathlib.Path(__file__).parents[3]


@pytest.fixture
def config_file(tmp_path):
    file = tmp_path / "tiny.py"
    file.write_text(CONFIG)
    return file


def run(*args):
    """Runs a command in this process; gives the config that it was called with."""
    seen = []
    with pytest.raises(SystemExit) as exit_:
        run_command(seen.append, lambda config: config, ["command", *map(str, args)])
    assert exit_.value.code is None, f"exit status {exit_.value.code}"
    return seen[0]


def run_error(capsys, *args):
    """Runs a command that must fail before ``main``; gives its one line."""
    with pytest.raises(SystemExit) as exit_:
        run_command(lambda _: pytest.fail("main was called"), lambda config: config, ["command", *map(str, args)])
    lines = capsys.readouterr().err.splitlines()
    assert exit_.value.code == 2 and len(lines) == 1 and lines[0].startswith("error: "), (exit_.value.code, lines)
    return lines[0]


def test_overrides_may_come_before_and_after_the_file(config_file):
    config = run("--config.optim.lr=1e-4", "--config", config_file, "--config.steps", "7", "--config.optim.nesterov")
    assert (config.optim.lr, config.steps, config.optim.nesterov) == (1e-4, 7, True)
    assert config.optim.warmup == 10 and config.is_locked


def test_values_take_the_type_of_the_field(config_file):
    config = run(
        f"--config={config_file}", "--config.optim.clip=2", "--config.data.dir=12", "--config.init_from=runs/1"
    )
    assert (config.optim.clip, config.data.dir, config.init_from) == (2.0, "12", "runs/1")
    assert isinstance(config.optim.clip, float)


def test_sequences_are_tuples_wherever_they_come_from(config_file):
    assert run(f"--config={config_file}").data.mixture == (("full", 1.0), ("initial", 0.5))
    config = run(f"--config={config_file}", "--config.data.mixture=[('full', 3)]", "--config.data.sizes=(8,)")
    assert config.data.mixture == (("full", 3),) and config.data.sizes == (8,)


def test_get_config_may_take_an_argument(config_file):
    assert run(f"--config={config_file}:other").variant == "other"


def test_one_command_leaves_nothing_to_the_next(config_file):
    run(f"--config={config_file}", "--config.steps=7")
    assert run(f"--config={config_file}").steps == 100


def test_a_saved_config_repeats_the_run_and_takes_overrides(config_file, tmp_path):
    first = run(f"--config={config_file}", "--config.optim.clip=2", "--config.init_from=3")
    (tmp_path / "config.json").write_text(to_json(first))
    assert run(f"--config={tmp_path / 'config.json'}") == first
    over = run(f"--config={tmp_path / 'config.json'}", "--config.optim.clip=3", "--config.data.sizes=(1, 2, 3)")
    assert (over.optim.clip, over.data.sizes, over.optim.lr) == (3.0, (1, 2, 3), 1e-3)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("--config.optim.lrr=1", "config.optim.lrr: unknown key; did you mean lr?; allowed here: clip, lr, "),
        ("--config.lr=1", "config.lr: unknown key; did you mean optim.lr?; allowed here: data, init_from, "),
        ("--config.steps.x=1", "config.steps.x: unknown key; steps is an int, it has no keys"),
        ("--config.optim={}", "config.optim: is a section; set one of its keys: clip, lr, nesterov, warmup"),
        ("--config.steps=many", "config.steps: 'many' is not an int; its value so far is 100"),
        ("--config.steps=1e3", "config.steps: '1e3' is not an int"),
        ("--config.optim.lr=fast", "config.optim.lr: 'fast' is not a float; its value so far is 0.001"),
        ("--config.optim.nesterov=maybe", "config.optim.nesterov: 'maybe' is not a bool"),
        ("--config.data.sizes=(1,", "config.data.sizes: '(1,' is not a tuple"),
        ("--config.steps", "config.steps"),
        ("--confg.steps=1", "--confg.steps: unknown flag; did you mean --config?"),
        ("--hepl", "--hepl: unknown flag; did you mean --help"),
        ("steps=1", "unexpected argument 'steps=1'"),
    ],
)
def test_a_wrong_override_says_what_is_allowed(capsys, config_file, override, message):
    assert message in run_error(capsys, f"--config={config_file}", override)


def test_a_config_is_required(capsys):
    assert "--config is missing" in run_error(capsys)


def test_a_command_as_a_user_runs_it(config_file, tmp_path):
    """Own flags beside the config; a UserError is one line and 2; a bug keeps its traceback; Ctrl-C is 130."""
    command = tmp_path / "command.py"
    command.write_text("""
from absl import flags
from irg_jax.core.config.command_line import run_command
from irg_jax.core.errors import UserError
FLAGS = flags.FlagValues()
WORKDIR = flags.DEFINE_string("workdir", None, "where", required=True, flag_values=FLAGS)
def main(c):
    if c.steps == 1: raise UserError("data is\\nbad")
    if c.steps == 2: raise KeyboardInterrupt
    if c.steps == 3: raise RuntimeError("bug")
    print(WORKDIR.value, c.steps)
run_command(main, lambda config: config, flag_values=FLAGS)
""")

    env = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path)}

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


COMMANDS = [
    "ablate",
    "bench",
    "convert",
    "export_base",
    "export_lora",
    "generate",
    "plan",
    "train",
    "checkpoints.bagel.synthetic",
]


def test_commands_can_be_imported_into_a_program_with_flags_of_the_same_names():
    program = "from absl import flags\n"
    for name in ("workdir", "seed", "out", "config", "help", "json", "checkpoint", "from"):
        program += f"flags.DEFINE_string({name!r}, '', '')\n"
    program += "".join(f"import irg_jax.{name}\n" for name in COMMANDS)
    program += "flags.FLAGS(['program', '--workdir=x'])\nassert flags.FLAGS.workdir == 'x'\n"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_help_needs_no_required_flags():
    done = subprocess.run([sys.executable, "-m", "irg_jax.train", "--help"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0
    assert "Trains a model" in done.stdout
    assert all(flag in done.stdout for flag in ("--workdir", "--config", "--compile_cache"))


# --- how a command ends


@pytest.mark.parametrize(
    ("raised", "status"),
    [("UserError('bad')", 2), ("StorageError('gone')", 75), ("KeyboardInterrupt", 130), ("ValueError('bug')", 1)],
)
def test_the_status_does_not_depend_on_anybody_reading_the_output(raised, status):
    program = f"""
from irg_jax.core.config.command_line import run_command
from irg_jax.core.errors import StorageError, UserError
def main():
    print("output" * 1000)
    raise {raised}
run_command(main, argv=["command"])
"""
    read, write = os.pipe()
    os.close(read)
    environment = os.environ | {"PYTHONUNBUFFERED": ""}  # the output is written at exit
    done = subprocess.run([sys.executable, "-c", program], stdout=write, stderr=write, cwd=ROOT, env=environment)
    os.close(write)
    assert done.returncode == status


def ending(main):
    """How a command without a config ends: its status, and what ``on_failure`` was told."""
    told = []
    with pytest.raises(SystemExit) as exit_:
        run_command(main, argv=["command"], on_failure=lambda *arguments: told.append(arguments))
    return exit_.value.code, told


def raising(error):
    def main():
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (UserError("data.dir: is\n missing"), 2, "error: data.dir: is missing"),
        (StorageError("run.json: cannot be written"), 75, "error: run.json: cannot be written"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_an_expected_end_is_one_line_and_a_status(capsys, error, status, line):
    assert ending(raising(error)) == (status, [(line.removeprefix("error: "), status)])
    assert capsys.readouterr().err == f"{line}\n"


def test_an_unexpected_exception_keeps_its_traceback_and_is_told_by_its_last_line(capsys):
    assert ending(raising(ValueError("a bug"))) == (1, [("ValueError: a bug", 1)])
    shown = capsys.readouterr().err
    assert shown.startswith("Traceback") and "in main" in shown and shown.endswith("ValueError: a bug\n")


def test_success_is_not_told():
    assert ending(lambda: None) == (None, [])
    assert ending(lambda: 3) == (3, [("ended with status 3", 3)])
