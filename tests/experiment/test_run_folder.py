"""A run's folder belongs to one config, and its record adds up over restarts."""

import errno
import json
import os

import jax
import pytest

from irg_jax.core import storage
from irg_jax.core.config.files import load
from irg_jax.core.config.schema import replaced
from irg_jax.core.errors import StorageError, UserError
from irg_jax.experiment import run_folder
from irg_jax.experiment.config import parse_config
from irg_jax.experiment.run_folder import RunRecord, claim
from tests import bucket


@pytest.fixture(scope="module", params=["shapes_stage1", "shapes_quickstart"])
def config(request):
    """The config of a single stage, and of an experiment of two stages."""
    return parse_config(load(request.param))


@pytest.fixture(scope="module")
def stage():
    return replaced(parse_config(load("shapes_stage1")), {"init_from": ""})


def test_a_new_folder_is_claimed_and_recognised(tmp_path, config):
    workdir = tmp_path / "deep" / "run"
    claim(workdir, config)
    before = (workdir / "config.json").read_bytes()
    assert b"{workdir}/data" in before
    claim(workdir, config)
    assert (workdir / "config.json").read_bytes() == before
    assert parse_config(load(workdir / "config.json")) == config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 1}, "seed is 0 there, 1 here"),
        ({"data.rows_per_pack": 2}, "data.rows_per_pack is 4 there, 2 here"),
        ({"execution.dtype": "bfloat16"}, "execution.dtype is 'float32' there, 'bfloat16' here"),
        ({"init_from": "runs/1"}, "init_from is '' there, 'runs/1' here"),
        ({"optim.freeze": ()}, r"optim.freeze is \[\['\^vit', 0\]\] there, \[\] here"),
    ],
)
def test_what_changes_the_mathematics_is_refused_by_its_key(tmp_path, stage, changes, message):
    claim(tmp_path, stage)
    before = (tmp_path / "config.json").read_bytes()
    repeat = "choose another --workdir, or repeat that run with --config .*config.json"
    with pytest.raises(UserError, match=f"belongs to another run: {message}; {repeat}"):
        claim(tmp_path, replaced(stage, {"log.every": 50} | changes))
    assert (tmp_path / "config.json").read_bytes() == before
    assert not (tmp_path / "run.json").exists()


FREE = {
    "steps": 5000,
    "data.threads": 7,
    "data.sources.shapes.dir": "/moved/data",
    "data.tokenizer": "/moved/tokenizer",
    "mesh.fsdp": 4,
    "execution.remat": "full",
    "execution.attention": "auto",
    "optim.accumulate": 2,
    "optim.skip_nonfinite": 3,
    "checkpoint.keep": 9,
    "log.wandb": "project",
    "validation.batches": 7,
}


@pytest.mark.parametrize("key", FREE)
def test_what_does_not_may_change(tmp_path, stage, key):
    claim(tmp_path, stage)
    (line,) = claim(tmp_path, replaced(stage, {key: FREE[key]}))
    assert line.startswith(f"{key}: ") and line.endswith(f" -> {FREE[key]}")
    assert claim(tmp_path, replaced(stage, {key: FREE[key]})) == [], "the new config is saved"


def test_changes_are_returned_logged_and_kept_in_the_record(tmp_path, stage, caplog):
    claim(tmp_path, stage)
    (tmp_path / "checkpoints" / "00000400").mkdir(parents=True)
    with caplog.at_level("INFO"):
        lines = claim(tmp_path, replaced(stage, {"log.every": 50, "log.wandb": "shapes"}))
    assert lines == ["log.every: 10 -> 50", 'log.wandb: "" -> shapes']
    assert [record.getMessage().partition(": ")[2] for record in caplog.records] == lines
    RunRecord(tmp_path)
    (change,) = json.loads((tmp_path / "run.json").read_text())["changes"]
    assert change["steps"] == {".": 400}
    assert change["values"] == {"log.every": [10, 50], "log.wandb": ["", "shapes"]}


def test_the_stages_and_the_evaluation_of_an_experiment_are_compared_likewise(tmp_path):
    quickstart = load("shapes_quickstart")
    claim(tmp_path, parse_config(quickstart))
    changed = quickstart.copy_and_resolve_references()
    with changed.unlocked():
        changed.evaluate.prompts = 3
        changed.stages.stage1.mesh.fsdp = 2
        changed.stages.stage2.init_from = "/moved/stage1"
    lines = claim(tmp_path, parse_config(changed))
    keys = [line.partition(":")[0] for line in lines]
    assert keys == ["evaluate.prompts", "stages.stage1.mesh.fsdp", "stages.stage2.init_from"]
    with changed.unlocked():
        changed.stages.stage2.optim.lr = 7.0
    with pytest.raises(UserError, match="stages.stage2.optim.lr is .* there, 7.0 here"):
        claim(tmp_path, parse_config(changed))


def test_a_run_of_a_version_without_a_free_key_goes_on(tmp_path, stage):
    claim(tmp_path, stage)
    saved = json.loads((tmp_path / "config.json").read_text())
    del saved["validation"]["prompts"]
    (tmp_path / "config.json").write_text(json.dumps(saved))
    assert claim(tmp_path, stage) == ["validation.prompts: null -> []"]


def _rename(section, old, new):
    section[new] = section.pop(old)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda saved: saved["optim"].pop("ema_decay"), "only this run's config has the key optim.ema_decay"),
        (lambda saved: saved.update(extra=1), "only the config.json there has the key extra"),
        (
            lambda saved: _rename(saved["optim"], "ema_decay", "decay"),
            "only the config.json there has the key optim.decay",
        ),
        (
            lambda saved: saved.update(lora={"rank": 4, "alpha": 4.0, "weights": "q"}),
            "only the config.json there has the key lora.alpha",
        ),
    ],
)
def test_a_config_of_another_version_is_refused_by_a_key_that_only_one_has(tmp_path, stage, change, message):
    claim(tmp_path, stage)
    saved = json.loads((tmp_path / "config.json").read_text())
    change(saved)
    (tmp_path / "config.json").write_text(json.dumps(saved))
    with pytest.raises(UserError, match=f"another version of irg_jax: {message}; choose another --workdir"):
        claim(tmp_path, stage)
    assert json.loads((tmp_path / "config.json").read_text()) == saved


@pytest.mark.parametrize("where", ["checkpoints", "stage1/checkpoints"])
def test_checkpoints_without_a_config_are_refused(tmp_path, stage, where):
    (tmp_path / where).mkdir(parents=True)
    with pytest.raises(UserError, match="holds checkpoints but no config.json; choose another --workdir"):
        claim(tmp_path, stage)
    assert not (tmp_path / "config.json").exists()


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_damaged_config_is_named(tmp_path, stage, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError, match="config.json: not a saved config"):
        claim(tmp_path, stage)


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path, stage):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file: cannot be the run's folder"):
        claim(tmp_path / "file", stage)


# --- the record


def test_phases_and_starts_add_up_over_restarts(tmp_path):
    for _ in range(2):
        record = RunRecord(tmp_path)
        with pytest.raises(RuntimeError), record.phase("train"):
            raise RuntimeError
    values = json.loads((tmp_path / "run.json").read_text())
    assert set(values) == {"started", "command", "commit", "starts", "seconds", "peak_memory_gib"}
    assert 0 < values["peak_memory_gib"] < 1024
    assert list(values["seconds"]) == ["train"] and values["seconds"]["train"] >= 0
    first, second = values["starts"]
    assert values["started"] == first["time"] <= second["time"]
    assert (first["devices"], first["processes"], first["platform"]) == (jax.device_count(), 1, "cpu")
    libraries = {"irg_jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy"}
    assert set(first["versions"]) == libraries and first["versions"]["jax"] == jax.__version__
    assert first["dirty"] == first["commit"].endswith("-dirty")


def test_a_start_is_described_in_words(tmp_path):
    about = RunRecord(tmp_path).describe()
    assert all(isinstance(text, str) for text in about.values())
    assert about["jax"] == jax.__version__ and about["device_kind"] == jax.devices()[0].device_kind
    assert about["command"].startswith("python -m irg_jax.train")


def test_only_the_primary_process_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    with RunRecord(tmp_path).phase("train"):
        pass
    assert not (tmp_path / "run.json").exists()


def test_the_record_works_without_git(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    RunRecord(tmp_path)
    assert json.loads((tmp_path / "run.json").read_text())["commit"] == ""


# --- storage


@pytest.fixture
def disk(monkeypatch):
    """The error numbers of the next writes; waits take no time."""
    numbers, write = [], run_folder.write_text

    def failing(path, text):
        if numbers:
            raise OSError(numbers[0], os.strerror(numbers.pop(0)))
        write(path, text)

    monkeypatch.setattr(run_folder, "write_text", failing)
    monkeypatch.setattr(storage, "sleep", lambda seconds: None)
    return numbers


def test_a_full_disk_is_one_clear_line(tmp_path, stage, disk):
    disk[:] = [errno.ENOSPC]
    with pytest.raises(UserError, match=r"run.json: cannot be written \(No space left on device\)"):
        RunRecord(tmp_path)
    disk[:] = [errno.ENOSPC]
    with pytest.raises(UserError, match=r"config.json: cannot be written \(No space left on device\)"):
        claim(tmp_path, stage)


def test_errors_that_pass_are_survived_and_others_are_storage_errors(tmp_path, stage, disk):
    disk[:] = [errno.EIO] * 3
    claim(tmp_path, stage)
    disk[:] = [errno.ESTALE] * 7
    with pytest.raises(StorageError, match=r"run.json: cannot be written \(Stale file handle\)"):
        RunRecord(tmp_path)


def test_a_run_may_live_on_a_bucket(tmp_path, stage, monkeypatch):
    workdir = f"{bucket.install(monkeypatch, tmp_path)}/deep/run"
    claim(workdir, stage)
    with RunRecord(workdir).phase("train"):
        pass
    assert claim(workdir, replaced(stage, {"log.every": 50})) == ["log.every: 10 -> 50"]
    run = tmp_path / "bucket" / "deep" / "run"
    assert {path.name for path in run.iterdir()} == {"config.json", "run.json"}
    assert json.loads((run / "run.json").read_text())["changes"][0]["values"] == {"log.every": [10, 50]}
    with pytest.raises(UserError, match="gs://bucket/deep/run: belongs to another run: seed is 0 there, 1 here"):
        claim(workdir, replaced(stage, {"seed": 1}))
