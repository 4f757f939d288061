"""Scores and embeddings in files, ours and those of the official scripts."""

import json
import math

import numpy as np
import pytest

from irg_jax.benchmarks import oneig
from irg_jax.benchmarks.benchmark import Row
from irg_jax.benchmarks.oneig import score_files, text
from irg_jax.core.errors import UserError
from tests.benchmarks.oneig.small import read_prompts, write_table


@pytest.fixture
def items(tmp_path):
    return read_prompts(tmp_path).items[:2]  # anime/000 and anime/001


def write_json(path, values):
    path.write_text(json.dumps(values))
    return path


def test_scores(tmp_path, items):
    path = write_json(tmp_path / "a.json", {"anime/001": [0, 0.5, None, 1], "anime/000": [1, 1, 1, 1]})
    scores = score_files.read_scores(path, items)
    assert scores["anime/000"] == [1] * 4 and math.isnan(scores["anime/001"][2])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"anime/000": [1]}, "a.json: lacks anime/001; score them"),
        ({"anime/000": [1], "anime/001": [1], "text/000": [1]}, "has too many: text/000"),
        ({"anime/000": [1], "anime/001": 0.5}, "anime/001 is 0.5; write a list"),
        ({"anime/000": [1], "anime/001": ["a"]}, "anime/001 is \\['a'\\]"),
        ([], "is not a JSON object"),
    ],
)
def test_wrong_scores(tmp_path, items, values, message):
    with pytest.raises(UserError, match=message):
        score_files.read_scores(write_json(tmp_path / "a.json", values), items)


def test_embeddings_by_key_or_in_the_order_of_the_prompts(tmp_path, items):
    arrays = np.arange(2 * 4 * 3, dtype=np.float32).reshape(2, 4, 3)
    np.save(tmp_path / "a.npy", arrays)
    np.savez(tmp_path / "a.npz", **{"anime/001": arrays[1], "anime/000": arrays[0]})
    for name in ("a.npy", "a.npz"):
        found = score_files.read_embeddings(tmp_path / name, items)
        assert found.keys() == {"anime/000", "anime/001"}
        assert (found["anime/001"] == arrays[1]).all() and found["anime/001"].dtype == np.float64


def test_references(tmp_path):
    np.savez(tmp_path / "a.npz", pixel_art=np.ones((7, 3)), lego=np.ones((2, 3)))
    assert score_files.read_arrays(tmp_path / "a.npz", ["lego"])["lego"].shape == (2, 3)
    with pytest.raises(UserError, match="has no clay; it has lego, pixel_art"):
        score_files.read_arrays(tmp_path / "a.npz", ["clay"])


def test_wrong_embeddings(tmp_path, items):
    np.save(tmp_path / "a.npy", np.ones((3, 4, 5)))
    np.savez(tmp_path / "a.npz", **{"anime/000": np.ones((4, 5)), "anime/001": np.ones(5)})
    (tmp_path / "b.npz").write_bytes(b"PK")
    for name, message in [
        ("a.npy", "has the shape \\(3, 4, 5\\); give \\[2 prompts"),
        ("a.npz", "anime/001 has the shape \\(5,\\); give \\[4 images, D\\]"),
        ("b.npz", "cannot be read"),
        ("nowhere.npz", "cannot be read"),
    ]:
        with pytest.raises(UserError, match=message):
            score_files.read_embeddings(tmp_path / name, items)


def official_csv(path, *rows, model="irg"):
    return write_table(path, ("", model, "other"), [(*row, "0.1") for row in rows])


def test_official_scores_with_and_without_categories(tmp_path, items):
    path = official_csv(tmp_path / "a.csv", ("anime_000", "0.25"), ("anime_001", "0.75"))
    rows = score_files.read_official_csv(path, "alignment", items, "irg", {})
    assert oneig.summarise(rows) == {"alignment": 0.5}
    path = official_csv(tmp_path / "b.csv", ("001", "0.5"), ("000", "0.1"))
    rows = score_files.read_official_csv(path, "style", items, "irg", {})
    assert [(row.key, row.values) for row in rows] == [("anime/000", {"style": 0.1}), ("anime/001", {"style": 0.5})]


def test_official_text_scores_make_the_official_figure(tmp_path):
    rows = [("Text_Rendering", number, "a sign", "", "", "") for number in ("000", "001")]
    items = read_prompts(tmp_path, rows).items
    wanted = {"text/000": "['one two', 'three']", "text/001": "['Stop']"}
    answers = {"text/000": ["one two three", "one", "two", "x"], "text/001": ["Stop", "Stop", "Stp", ""]}
    ours, table = [], []
    for item in items:
        cells = [text.values(wanted[item.key], {"ocr": answer}) for answer in answers[item.key]]
        ours += [Row(item.key, sample, item.category, cell) for sample, cell in enumerate(cells)]
        accuracies = [cell[text.MATCHED] / cell[text.WORDS] for cell in cells]
        means = [np.mean([cell[text.DISTANCE] for cell in cells]), np.mean([cell[text.EXACT] for cell in cells])]
        table.append((item.entry["id"], str([float(value) for value in (*means, np.mean(accuracies))])))
    path = official_csv(tmp_path / "a.csv", *table)
    rows = score_files.read_official_csv(path, "text", items, "irg", wanted)
    assert oneig.summarise(rows)["text"] == pytest.approx(oneig.summarise(ours)["text"], abs=1e-12)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("000", "0.1")], "lacks anime/001"),
        ([("000", "0.1"), ("001", "0.1"), ("002", "0.1")], "has too many: 002"),
        ([("000", "0.1"), ("001", "")], "anime/001 has the score ''"),
        ([("000", "0.1"), ("001", "nan")], "anime/001 has the score 'nan'"),
        ([("000", "0.1"), ("000", "0.1")], "row 2: 000 is there already"),
    ],
)
def test_wrong_official_scores(tmp_path, items, rows, message):
    path = official_csv(tmp_path / "a.csv", *rows)
    with pytest.raises(UserError, match=message):
        score_files.read_official_csv(path, "style", items, "irg", {})


def test_another_model(tmp_path, items):
    path = official_csv(tmp_path / "a.csv", ("000", "0.1"), ("001", "0.1"))
    with pytest.raises(UserError, match="has no column bagel"):
        score_files.read_official_csv(path, "style", items, "bagel", {})
