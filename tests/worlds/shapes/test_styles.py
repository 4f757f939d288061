"""Outlined, flat and striped pictures."""

import numpy as np
import pytest

from irg_jax.worlds.shapes.draw import open_places
from irg_jax.worlds.shapes.faults import draw_weak
from irg_jax.worlds.shapes.objects import COLOURS, PALETTE, SHAPES, PlacedObject, centres
from irg_jax.worlds.shapes.picture import STYLES, Content, Drawing, Picture, improve
from irg_jax.worlds.shapes.reader import read_picture
from irg_jax.worlds.shapes.render import render


def drawn(colour, style, flaws=()):
    return render(Picture((Drawing(PlacedObject(colour, "square", "northwest")),), style=style, flaws=flaws))


def random_plan(rng, places):
    looks = [(COLOURS[rng.integers(6)], SHAPES[rng.integers(5)]) for _ in range(rng.integers(1, 5))]
    return [PlacedObject(*look, place) for look, place in zip(looks, places, strict=False)]


@pytest.mark.parametrize("colour", COLOURS)
def test_flat_is_vivid_without_outlines_and_striped_has_a_second_lighter_tone(colour):
    x, y = centres(32)["northwest"]
    inside = {style: drawn(colour, style)[y - 2 : y + 2, x - 2 : x + 2].reshape(-1, 3) for style in STYLES}
    assert (inside["flat"] == PALETTE[colour]).all()
    assert (inside["outlined"] == PALETTE[colour]).all()
    tones = sorted(set(map(tuple, inside["striped"].tolist())), key=sum)
    assert len(tones) == 2 and tones[0] == PALETTE[colour] and sum(tones[1]) > sum(tones[0]) + 50
    darkest = {style: int(drawn(colour, style).max(-1).min()) for style in STYLES}
    assert max(darkest["outlined"], darkest["striped"]) < darkest["flat"] - 30


@pytest.mark.parametrize("style", STYLES)
def test_every_style_is_read_back_from_weak_and_good_pictures(style):
    rng = np.random.default_rng(1)
    for _ in range(40):
        planned = Content(random_plan(rng, open_places(32)), style=style)
        weak = draw_weak(rng, planned, open_places(32))
        for picture in (weak, improve(weak, planned)):
            seen = read_picture(render(picture))
            assert set(seen.things) == set(picture.objects)
            assert seen.content(style).flaws == picture.flaws
            # What should have had outlines, and has none, looks flat.
            assert seen.style == (
                "flat" if picture.style == "outlined" and "no outlines" in picture.flaws else picture.style
            )


def test_no_outlines_are_a_flaw_of_every_style_but_flat():
    seen = read_picture(drawn("blue", "flat"))
    assert (seen.flaws, seen.content("outlined").flaws, seen.content("flat").flaws) == (
        ("no outlines",),
        ("no outlines",),
        (),
    )
    rng = np.random.default_rng(0)
    weak = [
        draw_weak(rng, Content(random_plan(rng, open_places(32)), style="flat"), open_places(32)) for _ in range(100)
    ]
    assert not any("no outlines" in picture.flaws for picture in weak)
