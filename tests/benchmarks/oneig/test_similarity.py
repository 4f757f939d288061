"""OneIG-Bench's metrics of embeddings, on vectors whose cosines are known."""

import numpy as np
import pytest

from irg_jax.benchmarks.benchmark import Row
from irg_jax.benchmarks.oneig import similarity
from irg_jax.core.errors import UserError
from tests.benchmarks.oneig.small import read_prompts

NAN = float("nan")


@pytest.fixture
def item(tmp_path):
    return read_prompts(tmp_path).items[0]


def directions(*degrees, length=1.0):
    angles = np.radians(degrees)
    return length * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def test_reasoning_is_the_cosine_with_the_answer(item):
    images = directions(0, 60, 90, 180, length=3)
    scores = similarity.reasoning_scores(images, directions(0, length=5)[0], "here")
    assert scores == pytest.approx([1, 0.5, 0, -1])
    rows = similarity.reasoning_rows(item, scores)
    assert [(row.sample, row.values["reasoning"]) for row in rows] == [
        (i, pytest.approx(v)) for i, v in enumerate([1, 0.5, 0, -1])
    ]


def test_style_is_the_nearest_reference_and_at_least_zero(item):
    references = directions(0, 90)
    csd = similarity.nearest_scores(directions(0, 30, 60, 225), references, "here")
    assert csd == pytest.approx([1, np.cos(np.radians(30)), np.cos(np.radians(30)), 0])
    rows = similarity.style_rows(item, [0.4, -0.2, 0.5, -0.1], [0.2, 0.6, NAN, -0.3])
    assert [(row.sample, row.values["style"]) for row in rows] == [
        (0, pytest.approx(0.3)),
        (1, pytest.approx(0.3)),
        (3, 0),
    ]


def test_diversity_is_the_mean_distance_of_pairs(item):
    distances = similarity.pair_distances(directions(0, 60, 90, 180), "here")
    cosines = [np.cos(np.radians(angle)) for angle in (60, 90, 180, 30, 120, 90)]
    assert distances == pytest.approx([1 - cosine for cosine in cosines])
    (row,) = similarity.diversity_rows(item, distances)
    assert row == Row("anime/000", 0, "anime", {"diversity": pytest.approx(1 - sum(cosines) / 6)})


def test_missing_images_have_no_rows(item):
    images = directions(0, 60, 90, 180)
    images[1] = NAN
    scores = similarity.reasoning_scores(images, directions(0)[0], "here")
    assert [row.sample for row in similarity.reasoning_rows(item, scores)] == [0, 2, 3]
    assert similarity.pair_distances(images, "here") == pytest.approx([1, 2, 1])
    images[2:] = NAN
    assert similarity.diversity_rows(item, similarity.pair_distances(images, "here")) == []


def test_which_items_a_metric_is_about(tmp_path):
    items, styles = read_prompts(tmp_path).items, {"anime/000": "pixel_art"}
    chosen = {
        metric: [item.key for item in similarity.items_of(metric, items, styles)]
        for metric in ("reasoning", "style", "diversity")
    }
    assert chosen["reasoning"] == ["reasoning/007"] and chosen["style"] == ["anime/000"]
    assert len(chosen["diversity"]) == 5


def test_numbers_that_cannot_be(item):
    ones = np.ones((4, 2))
    for act, message in [
        (lambda: similarity.cosines(ones, np.ones((1, 3)), "here"), "here: embeddings of shapes"),
        (lambda: similarity.cosines(ones * 0, ones, "here"), "here: an embedding is 0 or infinite"),
        (lambda: similarity.cosines(ones * np.inf, ones, "here"), "here: an embedding is 0 or infinite"),
        (lambda: similarity.nearest_scores(ones, np.ones((0, 2)), "here"), "here: the style has no references"),
        (lambda: similarity.reasoning_rows(item, [0.1] * 3), "anime/000: 3 scores of reasoning; give 4"),
        (lambda: similarity.reasoning_rows(item, [0.1, 0.2, 0.3, 21.0]), "reasoning 21 is no cosine"),
        (lambda: similarity.diversity_rows(item, [0.1] * 7), "give one from 0 to 2 for each of the 6 pairs"),
        (lambda: similarity.diversity_rows(item, [-0.5]), "give one from 0 to 2"),
    ]:
        with pytest.raises(UserError, match=message):
            act()
