"""The train command: killed at any moment it resumes bit for bit; what it refuses, it refuses in one line."""

import csv
import json
import shutil
import signal
import subprocess
import time

import jax
import pytest

from irg_jax.experiment import stages
from irg_jax.sharding.mesh import make_mesh
from irg_jax.training import trainer
from tests import commands, tiny

CONFIG = "--config=configs/template.py"
OVERRIDES = commands.small(steps=12, log__every=1, checkpoint__every=3)


def curve(workdir):
    """Loss, its parts and the gradient norm by step, as text: equal means bit-identical."""
    with open(workdir / "metrics.csv", newline="") as file:
        return [[row[name] for name in ("step", "loss", "ce", "mse", "grad_norm")] for row in csv.DictReader(file)]


def start(workdir, *flags):
    return subprocess.Popen(
        commands.command_line("train", CONFIG, f"--workdir={workdir}", *OVERRIDES, *flags),
        cwd=commands.ROOT, env=commands.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def wait_for(process, condition):
    while not condition():
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.002)


def error_of(done):
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(lines) == 1
    assert "Traceback" not in done.stderr
    return lines[0]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run without interruption."""
    workdir = tmp_path_factory.mktemp("whole")
    done = commands.run("train", CONFIG, f"--workdir={workdir}", *OVERRIDES)
    assert done.returncode == 0, done.stderr
    return workdir


@pytest.fixture
def one_device(monkeypatch):
    """What runs in this process has the mesh that the runs in processes of their own have."""
    for module in (stages, trainer):
        monkeypatch.setattr(module, "make_mesh", lambda axes: make_mesh(axes, jax.devices()[:1]))


def finish(workdir):
    done = commands.run("train", CONFIG, f"--workdir={workdir}", *OVERRIDES)
    assert done.returncode == 0, done.stderr
    return done


def test_killed_in_a_step_it_resumes_bit_for_bit(whole, tmp_path):
    process = start(tmp_path)
    saved = tmp_path / "checkpoints" / "00000003"
    wait_for(process, lambda: saved.is_dir() and len(curve(tmp_path)) >= 5)
    process.kill()
    process.wait()
    assert "resuming from step" in finish(tmp_path).stderr
    assert curve(tmp_path) == curve(whole)


def test_killed_in_a_save_it_resumes_bit_for_bit(whole, tmp_path):
    process = start(tmp_path)
    wait_for(process, lambda: any((tmp_path / "checkpoints").glob("*6.orbax-checkpoint-tmp")))
    process.kill()
    process.wait()
    finish(tmp_path)
    assert curve(tmp_path) == curve(whole)


def test_ctrl_c_saves_and_the_run_resumes_from_that_step(whole, tmp_path):
    process = start(tmp_path)
    wait_for(process, lambda: (tmp_path / "metrics.csv").exists() and len(curve(tmp_path)) >= 4)
    process.send_signal(signal.SIGINT)
    process.wait()
    assert process.returncode == 130
    stopped = int(curve(tmp_path)[-1][0])
    assert (tmp_path / "checkpoints" / f"{stopped:08d}").is_dir()
    assert f"resuming from step {stopped}" in finish(tmp_path).stderr
    assert curve(tmp_path) == curve(whole)


def test_the_saved_config_repeats_the_run_elsewhere(whole, tmp_path):
    done = commands.run("train", f"--config={whole / 'config.json'}", f"--workdir={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert curve(tmp_path) == curve(whole)


def test_validation_and_a_profile_change_nothing_and_leave_their_figures_images_and_trace(whole, tmp_path):
    flags = ["--config.validation.every=6", "--config.validation.batches=1", "--profile=3:2"]
    flags.append("--config.validation.prompts=('a photo of one red circle',)")
    done = commands.run("train", CONFIG, f"--workdir={tmp_path}", *OVERRIDES, *flags)
    assert done.returncode == 0, done.stderr
    assert curve(tmp_path) == curve(whole)
    with open(tmp_path / "metrics.csv", newline="") as file:
        validated = {
            row["step"]: float(row["validation/loss"]) for row in csv.DictReader(file) if row["validation/loss"]
        }
    assert list(validated) == ["6", "12"] and validated["12"] < validated["6"]
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.glob("validation/**/*.png")) == [
        f"validation/{step:08d}/00/turn{turn}.png" for step in (6, 12) for turn in (1, 2)
    ]
    assert b"validation/00_a_photo_of_one_red_circle/turn2" in b"".join(
        path.read_bytes() for path in (tmp_path / "tensorboard").iterdir()
    )
    assert list(tmp_path.glob("profile/**/*.xplane.pb")) and (tmp_path / "profile" / "memory.prof").stat().st_size > 0


def test_a_later_stage_starts_from_the_ema_of_an_earlier_one(whole, tmp_path):
    flags = [
        *commands.small(steps=1),
        f"--config.init_from={whole}",
        f"--config.data.sources.shapes.dir={whole}/data/shapes",
    ]
    flags.append(f"--config.data.tokenizer={whole}/data/tokenizer")
    done = commands.run("train", CONFIG, f"--workdir={tmp_path}", *flags)
    assert done.returncode == 0, done.stderr
    assert "starting from the EMA weights" in done.stderr


def test_another_config_in_the_same_folder_is_refused_and_nothing_is_touched(whole, capfd, one_device):
    before = curve(whole), sorted(p.name for p in (whole / "checkpoints").iterdir())
    done = commands.run_here(capfd, "train", CONFIG, f"--workdir={whole}", *OVERRIDES, "--config.optim.lr=0.5")
    assert "belongs to another run: optim.lr" in error_of(done)
    assert before == (curve(whole), sorted(p.name for p in (whole / "checkpoints").iterdir()))


def test_a_checkpoint_of_another_model_is_refused(whole, tmp_path, capfd, one_device):
    shutil.copytree(whole / "checkpoints", tmp_path / "checkpoints")
    config = json.loads((whole / "config.json").read_text())
    config["model"]["decoder"]["mlp"] = 24
    config["steps"] += 1  # something is left to do
    (tmp_path / "other.json").write_text(json.dumps(config))
    shutil.copy(tmp_path / "other.json", tmp_path / "config.json")
    done = commands.run_here(capfd, "train", f"--config={tmp_path / 'other.json'}", f"--workdir={tmp_path}")
    assert "of another config" in error_of(done)


def test_a_non_finite_loss_stops_the_run_and_names_the_records(whole, tmp_path):
    flags = commands.small(steps=4, optim__lr=1e38, optim__final_lr=1e38)
    line = error_of(commands.run("train", CONFIG, f"--workdir={tmp_path}", *flags))
    assert "loss nan" in line or "grad_norm nan" in line
    assert "records in the batch: " in line
    assert ":train/0000" in line


def test_a_missing_data_set_is_named(tmp_path, capfd, one_device):
    lines = ["from configs import template", "def get_config():", "  c = template.get_config()"]
    lines += [f"  c.data.sources.shapes.{text}" for text in ("world = None", "dir = '/nowhere'")]
    lines += [f"  c.data.tokenizer = {str(tiny.BAGEL_TINY / 'bagel')!r}", "  return c"]
    (tmp_path / "mine.py").write_text("\n".join(lines))
    done = commands.run_here(capfd, "train", f"--config={tmp_path / 'mine.py'}", f"--workdir={tmp_path / 'run'}")
    assert "/nowhere" in error_of(done)


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("optim.lrr=1", "config.optim.lrr: unknown key; did you mean lr?"),
        ("steps=many", "config.steps: 'many' is not an int"),
        ("data.mixture=(('shapes', 'drawing', 1.0, True),)", "unknown learning mode 'drawing'; known modes are"),
        ("data.mixture=(('shapes', 'initial_full_learning', 0.0, True),)", "must be"),
        ("model.decoder.kv_heads=4", "config.model.decoder.kv_heads: 4 must divide the 6 heads"),
        ("mesh.data=2", "does not make 1 devices"),
        ("data.sources.shapes.format=parquet", "config.data.sources.shapes.format: 'parquet' is not one of irgl, "),
        (
            "execution.attention=flash",
            "config.execution.attention: 'flash' is not one of auto, plain, chunked, gpu, tpu",
        ),
        ("execution.attention=tpu", "config.execution.attention: 'tpu' does not run on cpu"),
        ("optim.schedule=linear", "constant, cosine"),
        ("data.budgets.gen=32", "has no sample that fits"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_its_key(whole, tmp_path, capfd, one_device, flag, message):
    data = [f"--config.data.sources.shapes.dir={whole}/data/shapes", f"--config.data.tokenizer={whole}/data/tokenizer"]
    line = [CONFIG, f"--workdir={tmp_path}", *commands.small(), *data, f"--config.{flag}"]
    done = commands.run_here(capfd, "train", *line)
    assert message in error_of(done)
