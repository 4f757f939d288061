"""Which files go along with weights: never other weights, nothing hidden, and nothing that cannot be read."""

import json
import os
import shutil

import pytest

from irg_jax.checkpoints.bagel import assets, contents, to_bagel, to_orbax, validate
from irg_jax.core.errors import UserError
from tests.checkpoints.bagel import folders

GO_ALONG = [
    *(
        "ae.safetensors",
        "README.pt.md",
        "generation_config.json",
        ".gitattributes",
        "teaser.png",
        "chat_template.jinja",
    ),
    *("examples/notes.txt", "examples/config.json", "model.json", "bin"),
]
WEIGHTS = [
    *("ema_bf16.safetensors", "model-00001-of-00002.safetensors", "optimizer.00000-of-00001.pt", "PYTORCH_MODEL.BIN"),
    *("model.pth", "last.ckpt", "model.Q4.gguf", "tf_model.h5", "flax_model.msgpack", "model.onnx", "state.npz"),
    *(
        "__0_0.distcp",
        "pytorch_model.bin.index.json",
        "model.safetensors.index.json",
        "model.safetensors.index.fp16.json",
    ),
    *("ema.safetensors.bak", "ema.safetensors~", "old/ema.safetensors"),
    *("old/ae.safetensors", "a/b/scheduler.pt"),
]
HIDDEN = [".git/config", ".cache/x/y.txt", ".ipynb_checkpoints/a.json", "examples/.git/HEAD", "._config.json"]
CHECKPOINT = ["run/00000003/_CHECKPOINT_METADATA", "run/00000003/ema/d/values"]


def write(folder, names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("[]" if name.endswith(".json") else "x")
    return folder


def test_weights_checkpoints_and_hidden_folders_are_left_out_by_name(tmp_path):
    write(tmp_path, [*GO_ALONG, *WEIGHTS, *HIDDEN, *CHECKPOINT, "ema.safetensors"])
    found = contents.look(tmp_path, ["ema.safetensors"])
    assert sorted(file.name for file in found.files) == sorted(GO_ALONG)
    folders_left = {".git", ".cache", ".ipynb_checkpoints", "examples/.git", "._config.json", "run/00000003"}
    assert {left.name for left in found.left_out} == {*WEIGHTS, *folders_left}
    assert found.size == sum((tmp_path / name).stat().st_size for name in GO_ALONG)
    assert found.problems == []


@pytest.mark.parametrize(
    "files, kept",
    [
        ({"ema.safetensors"}, True),
        ({"ema.safetensors", "ae.safetensors"}, True),
        ({"ema.safetensors", "model-00001-of-00001.safetensors"}, False),
        ({"ae.safetensors"}, False),
    ],
)
def test_only_the_index_of_the_weights_in_use_goes_along(tmp_path, files, kept):
    document = {"weight_map": dict(enumerate(files))}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(document))
    assert bool(contents.look(tmp_path, ["ema.safetensors"]).files) == kept


def test_what_cannot_be_read_is_a_problem_by_name_unless_it_is_left_out(tmp_path):
    folder = write(tmp_path / "b", ["good.txt", "inner/good.txt"])
    (folder / "dangling.png").symlink_to("/nowhere")
    (folder / "itself").symlink_to("itself")
    (folder / "inner" / "above").symlink_to("..")
    os.mkfifo(folder / "pipe")
    (folder / "optimizer.pt").symlink_to("/nowhere")
    found = contents.look(folder, [])
    reasons = ["No such file", "link to a folder around it", "Too many levels", "not a regular file"]
    names = ["dangling.png", "inner/above", "itself", "pipe"]
    assert len(found.problems) == len(names)
    for problem, name, reason in zip(found.problems, names, reasons, strict=True):
        assert problem.startswith(f"{folder / name}: ") and reason in problem
    with pytest.raises(UserError, match="b/dangling.png: cannot be read .No such file.*pipe"):
        contents.copy(folder, found, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def other_weights(target):
    """The tiny folder with a second set of weights, shards with their index, and an optimizer state."""
    folders.changed(target)
    shutil.copyfile(target / "ema.safetensors", target / "ema_bf16.safetensors")
    shard = "model-00001-of-00001.safetensors"
    shutil.copyfile(target / "ema.safetensors", target / shard)
    index = {"weight_map": dict.fromkeys(folders.tensors(), shard)}
    (target / "model.safetensors.index.json").write_text(json.dumps(index))
    (target / "old").mkdir()
    (target / "old" / "optimizer.00000-of-00001.pt").write_bytes(bytes(5_000_000))
    (target / ".gitattributes").write_text("*.safetensors filter=lfs\n")
    return target


LEFT = [
    "ema_bf16.safetensors", "model-00001-of-00001.safetensors", "model.safetensors.index.json",
    "old/optimizer.00000-of-00001.pt",
]  # fmt: skip


def test_other_weights_are_in_no_converted_folder_run_or_export(tmp_path, caplog):
    source, published = other_weights(tmp_path / "b"), {**folders.content(folders.TINY)}
    published[".gitattributes"] = b"*.safetensors filter=lfs\n"
    with caplog.at_level("INFO"):
        to_orbax.convert(source, tmp_path / "o", overwrite=False)
    for name in LEFT:
        assert f"{source / name}: not copied, the weights are those of ema.safetensors" in caplog.text
    assert "(5.0 MB)" in caplog.text
    beside = folders.content(tmp_path / "o" / "bagel")
    assert beside.keys() == {*published, contents.LAYOUT} - {"ema.safetensors"}
    # A converted folder of an earlier version has them; neither a run nor an export does.
    for name in LEFT:
        (tmp_path / "o" / "bagel" / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(source / name, tmp_path / "o" / "bagel" / name)
    assets.copy(tmp_path / "o", tmp_path / "run")
    assert folders.content(tmp_path / "run" / "bagel") == beside
    to_bagel.convert(tmp_path / "o", tmp_path / "back", weights="ema", dtype=None, overwrite=False)
    assert folders.content(tmp_path / "back") == published


def test_check_lists_what_is_not_converted_and_finds_what_cannot_be_read(tmp_path):
    source = other_weights(tmp_path / "b")
    lines, problems = validate.validate_checkpoint(source)
    assert problems == []
    assert [line.split(": ")[1] for line in lines if line.startswith("not converted: ")] == sorted(LEFT)
    (source / "teaser.png").symlink_to("/nowhere")
    _, problems = validate.validate_checkpoint(source)
    assert len(problems) == 1 and f"{source / 'teaser.png'}: cannot be read (No such file" in problems[0]


@pytest.mark.parametrize("name", ["teaser.png", "ema.safetensors", "ae.safetensors", "ae_config.json", "config.json"])
def test_a_link_to_nothing_in_the_source_is_named(tmp_path, name):
    source = folders.changed(tmp_path / "b")
    (source / name).unlink(missing_ok=True)
    (source / name).symlink_to("/nowhere")
    with pytest.raises(UserError, match=f"b/{name}: cannot be read.*No such file"):
        to_orbax.convert(source, tmp_path / "o", overwrite=False)
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_a_run_gets_its_assets_once_and_never_itself(tmp_path):
    source = tmp_path / "o"
    write(source / "bagel", ["config.json", "examples/a.txt"])
    run = source / "bagel" / "run"
    write(run, ["config.json"])
    assets.copy(source, run)
    assert set(folders.content(run)) == {"config.json", "bagel/config.json", "bagel/examples/a.txt"}
    (source / "bagel" / "config.json").write_text("{}")
    (run / "bagel" / "examples" / "a.txt").unlink()
    assets.copy(source, run)
    assert (run / "bagel" / "config.json").read_text() == "[]", "what is there stays"
    assert (run / "bagel" / "examples" / "a.txt").exists(), "what a killed start left out is added"
    assets.copy(source, source)
