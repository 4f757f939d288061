"""GenEval's folders: written as the official scorer reads them, and everything that is wrong with them is named."""

import json
import shutil

import pytest

from irg_jax.benchmarks import geneval
from irg_jax.core.errors import UserError
from tests.benchmarks.geneval.small import ENTRIES, image, png


def problems(prompts, folder):
    found = geneval.find_images(prompts, folder, model="any")
    assert len(found.images) == prompts.images - sum(one.kind in ("missing", "unreadable") for one in found.problems)
    return [(one.kind, one.where.removeprefix(f"{folder}/")) for one in found.problems]


def test_folders_and_names(prompts, folder):
    assert sorted(path.name for path in folder.iterdir()) == ["00000", "00001", "00002", "00003"]
    assert sorted(path.name for path in (folder / "00002/samples").iterdir()) == [f"000{i}.png" for i in range(4)]
    for number, entry in enumerate(ENTRIES):
        assert json.loads((folder / f"0000{number}/metadata.jsonl").read_text()) == entry
    found = geneval.find_images(prompts, folder, model="any")
    assert found.problems == ()
    assert {place: read() for place, read in found.images.items()} == {
        (item.key, sample): image(item, sample) for item in prompts.items for sample in range(4)
    }


def test_writing_again_changes_nothing_and_another_run_is_refused(prompts, folder):
    times = {path: path.stat().st_mtime_ns for path in folder.rglob("*.png")}
    geneval.write_layout(prompts, image, folder, model="any")
    assert times == {path: path.stat().st_mtime_ns for path in folder.rglob("*.png")}
    with pytest.raises(UserError, match=r"00000/samples/0000\.png: is there already and is another one"):
        geneval.write_layout(prompts, lambda item, sample: png(200), folder, model="any")


def test_names_with_other_zeros_and_a_grid_are_official_too(prompts, folder):
    for path in folder.glob("*/samples/*.png"):
        path.rename(path.with_name(f"0{path.name}"))
    (folder / "00001").rename(folder / "1")
    (folder / "00002/grid.png").write_bytes(png(1))
    assert problems(prompts, folder) == []


def test_what_is_missing(prompts, folder):
    (folder / "00000/samples/0003.png").unlink()
    shutil.rmtree(folder / "00001/samples")
    shutil.rmtree(folder / "00003")
    missing = [(0, 3), *((1, i) for i in range(4)), *((3, i) for i in range(4))]
    assert problems(prompts, folder) == [("missing", f"0000{n}/samples/000{i}.png") for n, i in missing]


def test_a_folder_that_is_not_there(prompts, tmp_path):
    assert len(problems(prompts, tmp_path / "nowhere")) == prompts.images


def test_what_is_too_much(prompts, folder):
    (folder / "notes.txt").write_text("")
    shutil.copytree(folder / "00000", folder / "00004")
    (folder / "00000/samples/0004.png").write_bytes(png(1))
    (folder / "00000/samples/0000.png.bak").write_bytes(png(1))  # which the official scorer would score
    (folder / "00000/more").mkdir()
    (folder / ".hidden").write_text("")
    assert problems(prompts, folder) == [
        ("extra", "00004"),
        ("extra", "notes.txt"),
        ("extra", "00000/more"),
        ("extra", "00000/samples/0000.png.bak"),
        ("extra", "00000/samples/0004.png"),
    ]


def test_what_is_there_twice(prompts, folder):
    shutil.copytree(folder / "00000", folder / "0")
    shutil.copy(folder / "00001/samples/0002.png", folder / "00001/samples/00002.png")
    found = geneval.find_images(prompts, folder, model="any")
    told = [(one.kind, one.where.removeprefix(f"{folder}/")) for one in found.problems]
    assert told == [("duplicate", "00000"), ("duplicate", "00001/samples/00002.png")]
    # Nobody knows which of the two is meant, so that none is found.
    assert ("00001", 2) not in found.images and len(found.images) == prompts.images - 4 - 1


def test_what_is_no_image(prompts, folder):
    (folder / "00000/samples/0000.png").write_bytes(b"")
    (folder / "00001/samples/0001.png").write_bytes(png(1)[:-20])
    assert problems(prompts, folder) == [
        ("unreadable", "00000/samples/0000.png"),
        ("unreadable", "00001/samples/0001.png"),
    ]


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        (json.dumps(ENTRIES[1]), "says 'two dogs, please', the prompt file 'one cat, please'"),
        (json.dumps({**ENTRIES[0], "prompt": "a long text"}), "says 'a long text'"),
        ("{", "cannot be read"),
        (None, "is missing"),
    ],
)
def test_images_of_another_prompt_file_are_not_found(prompts, folder, metadata, reason):
    file = folder / "00000/metadata.jsonl"
    file.unlink() if metadata is None else file.write_text(metadata)
    assert problems(prompts, folder) == [("missing", f"00000/samples/000{i}.png") for i in range(4)]
    assert reason in geneval.find_images(prompts, folder, model="any").problems[0].reason
