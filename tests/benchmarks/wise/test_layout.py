"""WISE's folder of PROMPT_ID.png."""

from irg_jax.benchmarks import wise
from irg_jax.benchmarks.benchmark import Item, PromptSet
from tests.benchmarks.pictures import kinds, png

ITEMS = tuple(Item(str(number), f"thing {number}", "CULTURE", 1, {}) for number in (1, 10, 400))
PROMPTS = PromptSet("wise", "custom", ITEMS, "", 1000)


def write(tmp_path):
    wise.write_layout(PROMPTS, lambda item, sample: png(int(item.key) % 256), tmp_path, model="irg")


def test_what_is_written_is_found(tmp_path):
    write(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.png", "10.png", "400.png"]
    found = wise.find_images(PROMPTS, tmp_path, model="irg")
    assert found.problems == ()
    assert {place: read() for place, read in found.images.items()} == {
        ("1", 0): png(1),
        ("10", 0): png(10),
        ("400", 0): png(144),
    }


def test_each_problem_is_named_and_results_are_left_alone(tmp_path):
    write(tmp_path)
    (tmp_path / "10.png").unlink()
    (tmp_path / "10.jpg").write_bytes(png())
    (tmp_path / "001.png").write_bytes(png())
    (tmp_path / "2.png").write_bytes(png())
    (tmp_path / "400.png").write_bytes(png(size=64)[:90])
    (tmp_path / "Results-qwen35").mkdir()
    (tmp_path / ".partial").write_bytes(b"")
    found = wise.find_images(PROMPTS, tmp_path, model="irg")
    assert kinds(found) == [
        ("extra", "001.png"),
        ("extra", "10.jpg"),
        ("extra", "2.png"),
        ("missing", "10.png"),
        ("unreadable", "400.png"),
    ]
    reasons = {problem.where.rpartition("/")[2]: problem.reason for problem in found.problems}
    assert "convert it to a PNG" in reasons["10.jpg"] and "without leading zeros" in reasons["001.png"]
    assert list(found.images) == [("1", 0)]


def test_a_missing_folder_has_no_images(tmp_path):
    found = wise.find_images(PROMPTS, tmp_path / "none", model="irg")
    assert not found.images and kinds(found) == [("missing", "1.png"), ("missing", "10.png"), ("missing", "400.png")]
