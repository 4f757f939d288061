"""The local detector: resumed without doing an image twice, colours only where they are asked for."""

import dataclasses
import functools

import numpy as np
import pytest

from irg_jax.benchmarks import geneval
from irg_jax.benchmarks.benchmark import FoundImages
from irg_jax.benchmarks.geneval import detect, detections
from irg_jax.benchmarks.geneval.decision import Object
from irg_jax.benchmarks.geneval.detector import Detection, protocol
from irg_jax.core.errors import UserError
from tests.benchmarks.geneval.small import png


@pytest.fixture
def found(prompts, folder):
    return geneval.find_images(prompts, folder, model="any")


class Models:
    """Sees a car, a worse car and a bus in each image; every colour is blue. Fails at a batch, if asked."""

    def __init__(self, fails_at=None):
        self.batches, self.crops, self.fails_at = [], [], fails_at

    def detector(self, images):
        if len(self.batches) == self.fails_at:
            raise KeyboardInterrupt
        self.batches.append(len(images))
        mask = np.zeros((16, 24), bool)
        mask[2:10, 3:8] = True
        scores = {"car": (0.5, 0.9), "bus": (0.8,)}
        return [
            [Detection(name, Object((3, 2, 9, 10), score), mask) for name in scores for score in scores[name]]
            for _ in images
        ]

    def classifier(self, crops, name):
        self.crops += [(name, crop) for crop in crops]
        return ["blue"] * len(crops)


def run(prompts, found, path, models, **more):
    return detect.detect(prompts, found, path, models.detector, models.classifier, batch_size=3, **more)


def test_every_image_is_detected_once_also_after_an_interruption(tmp_path, prompts, found):
    path, whole, first, second = tmp_path / "seen.jsonl", Models(), Models(fails_at=2), Models()
    assert run(prompts, found, tmp_path / "whole.jsonl", whole) == 16
    assert whole.batches == [3, 3, 3, 3, 3, 1]
    with pytest.raises(KeyboardInterrupt):
        run(prompts, found, path, first)
    path.write_bytes(path.read_bytes()[:-9])  # the machine was lost in the middle of a line
    assert run(prompts, found, path, second) == 16 - 5
    assert path.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert run(prompts, found, path, Models()) == 0


def test_a_file_that_was_lost_in_its_first_line(tmp_path, prompts, found):
    path = tmp_path / "seen.jsonl"
    path.write_text('{"format"')
    assert run(prompts, found, path, Models()) == 16


def test_the_file_is_scored(tmp_path, prompts, found):
    run(prompts, found, tmp_path / "seen.jsonl", Models())
    seen = detections.read_detections(tmp_path / "seen.jsonl")
    assert seen.detector == protocol() and "another weight set than the official one" in protocol()
    assert detections.check_places(prompts, seen.prompts, tmp_path / "seen.jsonl") == ()
    reasons = detections.decide_images(prompts, seen)["00002", 0].reasons
    assert reasons == ("expected red car>=1, found 0 red; and 1 blue",)


def test_only_the_best_objects_get_a_color(tmp_path, prompts, found):
    models = Models()
    run(prompts, found, tmp_path / "seen.jsonl", models)
    seen = detections.read_detections(tmp_path / "seen.jsonl").images
    assert [one.color for one in seen["00002", 0]["car"]] == ["", "blue"]
    assert [one.color for one in seen["00000", 0]["car"]] == ["", ""]
    assert [name for name, _ in models.crops] == ["car", "bus"] * 4
    crop = np.asarray(models.crops[0][1])
    assert crop.shape == (8, 6, 3)  # the box
    assert (crop[:, :5] == (20, 100, 50)).all() and (crop[:, 5:] == 0x99).all()  # grey outside of the mask


def test_a_file_of_another_detector(tmp_path, prompts, found):
    run(prompts, found, tmp_path / "seen.jsonl", Models(), name="one")
    with pytest.raises(UserError, match="was written by 'one'; give another file for 'other'"):
        run(prompts, found, tmp_path / "seen.jsonl", Models(), name="other")


def test_a_file_of_other_prompts(tmp_path, prompts, found):
    run(prompts, found, tmp_path / "seen.jsonl", Models())
    items = [dataclasses.replace(item, prompt=f"{item.prompt}, at night") for item in prompts.items]
    with pytest.raises(UserError, match="00000 sample 0 is of the prompt"):
        run(dataclasses.replace(prompts, items=tuple(items)), found, tmp_path / "seen.jsonl", Models())


def test_only_images_of_one_size_are_detected_together(tmp_path, prompts, found):
    sizes = {place: (32, 16) if place[1] == 1 else (24, 16) for place in found.images}
    images = {place: functools.partial(png, 1, size) for place, size in sizes.items()}
    batches = []

    def detector(batch):
        batches.append([image.size for image in batch])
        return [[] for _ in batch]

    detect.detect(prompts, FoundImages(images, ()), tmp_path / "seen.jsonl", detector, Models().classifier)
    assert batches == [[(24, 16)], [(32, 16)], *[[(24, 16)] * 3, [(32, 16)]] * 3, [(24, 16)] * 2]
