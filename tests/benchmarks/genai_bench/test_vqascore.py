"""VQAScores from JSON, CSV and what t2v_metrics saves."""

import json

import numpy as np
import pytest

from irg_jax.benchmarks.benchmark import Row
from irg_jax.benchmarks.genai_bench.vqascore import read_rows, scores_of_array
from irg_jax.core.errors import UserError
from tests.benchmarks.genai_bench.prompts import read

SCORES = [0.25, 0.5, 0.75, 1.0, 0.125]
ROWS = [
    Row("00000", 0, "basic: attribute, scene", {"score": 0.25}),
    Row("00001", 0, "basic: scene", {"score": 0.5}),
    Row("00002", 0, "advanced: counting", {"score": 0.75}),
    Row("00003", 0, "advanced: attribute, counting, negation", {"score": 1.0}),
]


def test_scores_by_id(tmp_path):
    prompts = read(tmp_path)
    (tmp_path / "scores.json").write_text(json.dumps({f"{n:05d}": score for n, score in enumerate(SCORES)}))
    (tmp_path / "scores.csv").write_text("id,score\n" + "".join(f"{n},{score}\n" for n, score in enumerate(SCORES)))
    assert read_rows(prompts, tmp_path / "scores.json") == read_rows(prompts, tmp_path / "scores.csv") == ROWS
    (tmp_path / "scores.json").write_text('{"00002": 0.75}')
    assert read_rows(prompts, tmp_path / "scores.json") == ROWS[2:3], "what is missing has no row"


def test_the_array_of_t2v_metrics(tmp_path):
    prompts = read(tmp_path)
    np.save(tmp_path / "scores.npy", np.float32(SCORES)[:, None, None])
    assert read_rows(prompts, tmp_path / "scores.npy") == ROWS
    two = np.stack([np.array(SCORES), np.zeros(5)], axis=1)
    assert scores_of_array(prompts, two, "x")["00000"] == 0.125


def test_the_tensor_of_t2v_metrics(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save(torch.tensor(SCORES)[:, None, None], tmp_path / "clip-flant5-xxl_1600_prompts.pt")
    assert read_rows(read(tmp_path), tmp_path / "clip-flant5-xxl_1600_prompts.pt") == ROWS


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("s.json", "[]", "not an object from ids to scores"),
        ("s.json", '{"x": 1}', "the id 'x' is not a number"),
        ("s.json", '{"0": 1, "00000": 1}', "has the id 00000 twice"),
        ("s.json", '{"00007": 1}', "has the id 00007, which is none of these prompts"),
        ("s.json", '{"0": 1.5}', "the score is 1.5; it has to be a number from 0 to 1"),
        ("s.json", '{"0": null}', "the score is None"),
        ("s.json", '{"0": NaN}', "the score is nan"),
        ("s.csv", "key,score\n0,1\n", r"has the columns \['key', 'score'\]; it needs id and score"),
        ("s.csv", "id,score\n0,1\n0,1\n", "s.csv:3: has the id 0 twice"),
        ("s.csv", "id,score\n0\n", "the score is None"),
        ("s.npy", "x", "cannot be read as an array"),
        ("s.txt", "x", "is none of .json, .csv, .npy, .pt"),
        ("none.csv", None, "cannot be read"),
    ],
)
def test_faults_of_files(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message):
        read_rows(read(tmp_path), tmp_path / name)


@pytest.mark.parametrize(
    ("shape", "message"), [((4,), "has shape"), ((5, 0), "has shape"), ((5, 1, 2), "has 2 texts for each image")]
)
def test_arrays_of_other_prompts(tmp_path, shape, message):
    with pytest.raises(UserError, match=message):
        scores_of_array(read(tmp_path), np.zeros(shape), "x")
