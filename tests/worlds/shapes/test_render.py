"""Pictures to pixels: the same on every machine, from the same drawings, whatever the flaws."""

import hashlib

import numpy as np
import pytest

from irg_jax.worlds.shapes import render as rendering
from irg_jax.worlds.shapes.objects import PLACES, SHAPES, PlacedObject, cell_side
from irg_jax.worlds.shapes.picture import FLAWS, OFFSETS, SIZES, TEXTURES, TILTS, Background, Drawing, Picture
from irg_jax.worlds.shapes.render import NOISE, TEXTURE, backdrop, centre, coverage, render
from tests.worlds.shapes.drawing import draw

CROSS = Drawing(PlacedObject("red", "cross", "northwest"), (2, -2), 25, 15)
SQUARE = Drawing(PlacedObject("blue", "square", "southeast"))


def digest(size, flaws):
    hashed = hashlib.sha256()
    for texture in TEXTURES:
        background = Background((220, 240, 231), (9, -5), texture)
        hashed.update(render(Picture((CROSS, SQUARE), background, flaws, noise=7), size).tobytes())
    return hashed.hexdigest()[:12]


@pytest.mark.parametrize(
    ("size", "flaws", "expected"),
    [
        (32, (), "73cef48eb23c"),
        (64, (), "7b8b0f5274d8"),
        (48, ("ragged", "noisy"), "40b3fecc040e"),
        (32, ("no outlines", "blurred", "faded"), "e74ce050d1bd"),
    ],
)
def test_pixels_have_their_recorded_digest(size, flaws, expected):
    assert digest(size, flaws) == expected


@pytest.mark.parametrize("size", [32, 64])
def test_no_float_is_involved(size, monkeypatch):
    parts = []

    def watched(*arguments):
        parts.append(paint(*arguments))
        return parts[-1]

    paint = rendering.paint
    monkeypatch.setattr(rendering, "paint", watched)
    for flaws in ((), FLAWS[:2], FLAWS[2:]):
        assert render(Picture((CROSS, SQUARE), Background(texture="dots"), flaws), size).dtype == np.uint8
    parts += [backdrop(Background(texture=texture), size) for texture in TEXTURES]
    parts += [
        part for flaws in ("blurred", "ragged") for part in coverage("cross", 22, 15, size, frozenset({flaws}))[:2]
    ]
    assert {part.dtype for part in parts} == {np.dtype(np.int64)}


def test_an_object_is_where_its_drawing_says_and_nowhere_else():
    for size in (32, 64):
        behind, image = backdrop(Background(), size), render(Picture((CROSS,)), size)
        rows, columns = np.nonzero((image != behind).any(-1))
        half = cell_side(size) // 2
        x, y = centre(CROSS, size)
        assert columns.min() >= x - half and columns.max() < x + half
        assert rows.min() >= y - half and rows.max() < y + half
        assert abs(columns.mean() + 0.5 - x) < 0.3 and abs(rows.mean() + 0.5 - y) < 0.3


def test_areas_grow_with_the_size_and_hardly_change_with_the_tilt():
    for shape in SHAPES:
        areas = [[int(coverage(shape, size, tilt, 32).outer.sum()) for tilt in TILTS] for size in SIZES]
        assert max(areas[0]) < min(areas[1])
        assert all(max(row) - min(row) < 0.03 * max(row) for row in areas)


def test_what_each_flaw_does():
    plain = render(Picture((SQUARE,)), 64).astype(int)
    changed = {flaw: render(Picture((SQUARE,), flaws=(flaw,), noise=3), 64).astype(int) for flaw in FLAWS}
    inside, outside = np.s_[50:56, 50:56], np.s_[:32, :32]
    dark = {flaw: int((image.max(-1) < 80).sum()) for flaw, image in changed.items()}
    assert dark["no outlines"] == 0 < (plain.max(-1) < 80).sum()
    assert np.abs(changed["faded"][inside] - (plain[inside] + 238) / 2).max() <= 1
    noise = changed["noisy"][outside] - plain[outside]
    assert (noise == noise[..., :1]).all(), "noise is grey"
    assert np.abs(noise).max() <= NOISE and noise.std() > NOISE / 2
    steps = {flaw: np.abs(np.diff(image, axis=1)).max() for flaw, image in changed.items()}
    assert steps["blurred"] < 0.7 * steps["noisy"]
    outline = {flaw: int((image != 238).any(-1).sum()) for flaw, image in changed.items()}
    assert outline["ragged"] != outline["no outlines"], "pieces are bitten out"
    for flaw in set(FLAWS) - {"noisy"}:
        assert (changed[flaw][outside] == plain[outside]).all()


def test_a_background_has_its_slope_and_texture():
    sloped = backdrop(Background((230, 230, 230), (12, -8)), 64)
    assert sloped[:, -1].mean() - sloped[:, 0].mean() == pytest.approx(12, abs=1)
    assert sloped[-1].mean() - sloped[0].mean() == pytest.approx(-8, abs=1)
    for texture in TEXTURES[1:]:
        assert set(np.unique(backdrop(Background(texture=texture)) - 238)) == {-TEXTURE, TEXTURE}
    images = {backdrop(Background(texture=texture)).tobytes() for texture in TEXTURES}
    assert len(images) == len(TEXTURES)


def test_pictures_differ_in_everything_that_plans_leave_open():
    drawings = [drawing for _, weak, _ in draw(300) for drawing in weak.drawings]
    assert {drawing.size for drawing in drawings} == set(SIZES)
    assert {drawing.tilt for drawing in drawings} == set(TILTS)
    assert {drawing.offset[0] for drawing in drawings} == set(OFFSETS)
    assert {weak.background.texture for _, weak, _ in draw(60)} == set(TEXTURES)
    assert all(drawing.tilt == 0 for drawing in drawings if drawing.thing.shape == "circle")


def test_a_larger_canvas_has_all_places():
    objects = tuple(Drawing(PlacedObject("green", "circle", place)) for place in PLACES)
    image = render(Picture(objects), 96)
    assert image.shape == (96, 96, 3)
    assert all((image[y, x] == (25, 160, 60)).all() for x in (16, 48, 80) for y in (16, 48, 80))
