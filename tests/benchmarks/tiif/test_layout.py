"""TIIF-Bench's folders of TYPE/MODEL/LENGTH_description/LINE.png."""

import pytest

from irg_jax.benchmarks import tiif
from irg_jax.core.errors import UserError
from tests.benchmarks.pictures import kinds, png
from tests.benchmarks.tiif.prompts import read


@pytest.fixture
def prompts(tmp_path):
    (tmp_path / "data").mkdir()
    return read(tmp_path / "data")


def write(prompts, folder, model="irg"):
    levels = {item.key: number for number, item in enumerate(prompts.items)}
    tiif.write_layout(prompts, lambda item, sample: png(levels[item.key]), folder, model=model)


def test_what_is_written_is_found(tmp_path, prompts):
    out = tmp_path / "out"
    write(prompts, out)
    write(prompts, out, "other")
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*.png") if "irg" in path.parts) == [
        *(f"color+2d/irg/{length}_description/{line}.png" for length in ("long", "short") for line in (0, 1)),
        *(f"text/irg/{length}_description/{line}.png" for length in ("long", "short") for line in (0, 1)),
    ]
    found = tiif.find_images(prompts, out, model="irg")
    assert found.problems == ()
    assert [found.images[item.key, 0]() for item in prompts.items] == [png(level) for level in range(8)]


def test_each_problem_is_named(tmp_path, prompts):
    out = tmp_path / "out"
    write(prompts, out)
    place = out / "text" / "irg" / "short_description"
    (place / "0.png").rename(place / "0.webp")
    (place / "1.jpg").write_bytes(png())
    (place / "2.png").write_bytes(png())
    (place.parent / "long_description" / "0.png").write_bytes(b"no image")
    (place.parent / "long_description" / "1.png").unlink()
    found = tiif.find_images(prompts, out, model="irg")
    assert kinds(found) == [("duplicate", "1.png"), ("extra", "2.png"), ("missing", "1.png"), ("unreadable", "0.png")]
    assert "1.png, 1.jpg are one image" in " ".join(problem.reason for problem in found.problems)
    assert ("text/short/0", 0) in found.images and len(found.images) == 5


def test_images_of_turns_as_irg_names_them(tmp_path, prompts):
    out = tmp_path / "out"
    write(prompts, out)
    for path in list(out.rglob("*.png")):
        path.with_name(f"turn2_{path.name}").write_bytes(path.read_bytes())
        path.rename(path.with_name(f"turn1_{path.name}"))
    for turn in (1, 2):
        found = tiif.find_images(prompts, out, model="irg", turn=turn)
        assert found.problems == () and len(found.images) == 8
    problems = tiif.find_images(prompts, out, model="irg").problems
    assert {problem.kind for problem in problems} == {"missing", "extra"}
    assert any("copy those of one turn into a layout of their own" in problem.reason for problem in problems)


@pytest.mark.parametrize("model", ["", "..", "a/../b", "/tmp", "a//b"])
def test_a_model_is_a_folder(tmp_path, prompts, model):
    with pytest.raises(UserError, match="cannot be a folder"):
        tiif.find_images(prompts, tmp_path, model=model)
