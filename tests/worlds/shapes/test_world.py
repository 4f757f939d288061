"""The records: reproducible, balanced over the kinds, split without overlap, and consistent with their scene."""

import collections
import functools
import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from irg_jax.core.errors import UserError
from irg_jax.worlds.shapes.draw import SPLITS, split_of
from irg_jax.worlds.shapes.kept import kept
from irg_jax.worlds.shapes.objects import COLOURS, PLACES, SHAPES, PlacedObject
from irg_jax.worlds.shapes.prompts import WORDINGS, write_prompt
from irg_jax.worlds.shapes.reader import read_picture
from irg_jax.worlds.shapes.scene import KINDS, MANNERS, Scene, Wanted
from irg_jax.worlds.shapes.score import compare_with_plan
from irg_jax.worlds.shapes.thinking import parse_plan, parse_reflection, said
from irg_jax.worlds.shapes.world import make_trajectory

LOOKS = [(colour, shape) for colour in COLOURS for shape in SHAPES]


def pixels(encoded):
    return np.asarray(Image.open(io.BytesIO(encoded)))


def fingerprint(records):
    """A digest of texts and pixels; not of PNG bytes, which may differ between versions of zlib."""
    digest = hashlib.sha256()
    for record in records:
        digest.update("\n".join((record.key, record.prompt, record.thinking1, record.thinking2, record.scene)).encode())
        digest.update(pixels(record.image1).tobytes() + pixels(record.image2).tobytes())
    return digest.hexdigest()[:16]


@functools.cache
def scenes(split, count, seed=0):
    return [Scene.from_json(make_trajectory(seed, split, index).scene) for index in range(count)]


@pytest.mark.parametrize(
    ("seed", "split", "start", "expected"),
    [
        (0, "train", 0, "bafe14378e1c5ad3"),
        (7, "held_out", 0, "46a5fdf9323f4d33"),
        (2**40, "train", 10**9, "e2154ef749faa23a"),
    ],
)
def test_records_have_their_recorded_digest(seed, split, start, expected):
    assert fingerprint(make_trajectory(seed, split, index) for index in range(start, start + 60)) == expected


def test_the_arguments_determine_the_record():
    assert make_trajectory(0, "train", 5) == make_trajectory(0, "train", 5)
    others = [make_trajectory(*where) for where in ((0, "train", 5), (1, "train", 5), (0, "train", 11))]
    assert len({record.image2 + record.prompt.encode() for record in others}) == 3


def test_records_have_the_documented_keys_kinds_and_sizes():
    record = make_trajectory(3, "train", 123)
    assert record.key == "train/000123"
    assert pixels(record.image1).shape == pixels(record.image2).shape == (32, 32, 3)
    assert pixels(make_trajectory(3, "train", 123, size=64).image2).shape == (64, 64, 3)
    assert [scene.kind for scene in scenes("train", 12)] == list(KINDS) * 2


@pytest.mark.parametrize(
    "arguments", [(0, "test", 0), (-1, "train", 0), (0, "train", -1), (0, "train", 1 << 48), (0, "train", 0, 24)]
)
def test_arguments_out_of_range_are_named(arguments):
    with pytest.raises(UserError, match=r"shapes:.*use"):
        make_trajectory(*arguments)


@pytest.mark.parametrize(("size", "count"), [(32, 120), (64, 24)])
def test_texts_and_pictures_of_a_record_agree(size, count):
    for index in range(count):
        record = make_trajectory(5, "held_out", index, size, MANNERS)
        scene, first, second = (
            Scene.from_json(record.scene), *(read_picture(pixels(image)) for image in (record.image1, record.image2)),
        )  # fmt: skip
        assert parse_plan(record.thinking1) == scene.plan
        reflection = parse_reflection(record.thinking2)
        assert reflection.seen == said(first.content(scene.style))
        assert reflection.faults == {fault.named for fault in compare_with_plan(first, scene.plan)}
        assert compare_with_plan(second, scene.plan) == ()
        assert kept(first, second, scene.objects) > 0.95


def test_the_splits_share_no_combination_of_objects():
    def combinations(split):
        return {tuple(sorted((o.colour, o.shape) for o in scene.objects)) for scene in scenes(split, 600)}

    assert not combinations("train") & combinations("held_out")
    for split in SPLITS:
        assert all(split_of(scene.objects) == split for scene in scenes(split, 60, seed=1))


def test_held_out_single_objects_cover_colours_and_shapes_that_training_shows_beside_other_objects():
    held_out = [look for look in LOOKS if split_of([PlacedObject(*look, "northwest")]) == "held_out"]
    assert len({colour for colour, _ in held_out}) >= 4
    assert len({shape for _, shape in held_out}) >= 4
    beside_others = {
        (o.colour, o.shape) for scene in scenes("train", 600) if len(scene.objects) > 1 for o in scene.objects
    }
    assert beside_others == set(LOOKS)


def test_scenes_follow_their_kind():
    counts = collections.Counter()
    for scene in scenes("train", 600):
        rows, columns = zip(*(divmod(PLACES.index(thing.place), 3) for thing in scene.objects), strict=True)
        if scene.kind == "counting":
            counts[len(scene.objects)] += 1
            assert len({thing.colour for thing in scene.objects}) == 1
        if scene.kind == "position":
            assert (
                scene.relation
                == {(0, -2): "left of", (0, 2): "right of", (-2, 0): "above", (2, 0): "below"}[
                    rows[0] - rows[1], columns[0] - columns[1]
                ]
            )
        asked = [item.colour for item in scene.wanted]
        if scene.kind in ("colors", "color_attr"):
            assert asked == [thing.colour for thing in scene.objects]
            assert len(set(asked)) == len(asked)
        else:
            assert not any(asked)
    assert sorted(counts) == [1, 2, 3, 4]


def test_every_wording_is_short_and_names_the_wanted_objects_and_no_place():
    for kind, wordings in WORDINGS.items():
        assert len(set(wordings)) >= 4
        scene = next(scene for scene in scenes("train", 6) if scene.kind == kind)
        for wording in range(len(wordings)):
            prompt = write_prompt(scene, wording)
            assert len(prompt.split()) <= 16
            assert all(item.shape in prompt and (item.colour or "") in prompt for item in scene.wanted)
            assert not any(place in prompt for place in PLACES)
    used = {make_trajectory(0, "train", index).prompt for index in range(0, 120, 6)}
    assert len(used) > 5


def test_prompts_are_correct_english():
    plan = (PlacedObject("orange", "cross", "northwest"), PlacedObject("orange", "cross", "northeast"))
    assert write_prompt(Scene("counting", (Wanted("cross", count=2),), None, plan), 1) == "a picture of two crosses"
    one = Scene("colors", (Wanted("cross", "orange"),), None, plan[:1])
    assert write_prompt(one, 2) == "draw an orange cross"
