"""The gallery: how thinking is formatted, and which samples are shown."""

import base64
import io
import pathlib

import numpy as np
from PIL import Image

from irg_jax.reporting import gallery
from irg_jax.reporting.load import Sample, Turn
from irg_jax.reporting.perception import Reading
from irg_jax.reporting.scoring import SampleScore
from irg_jax.worlds.shapes.faults import Fault
from irg_jax.worlds.shapes.objects import PlacedObject
from irg_jax.worlds.shapes.score import Score


def test_thinking_is_formatted_and_escaped():
    steps = "### Step-by-Step Modification Guidance:\n1. Add <it>. 2. Sharpen.\n- so\n- and so"
    text = f"<think> Dull & pale.\n{steps} </think>"
    assert gallery.thinking_html(text) == (
        "<p>Dull &amp; pale.</p><h4>Step-by-Step Modification Guidance</h4>"
        "<ol><li>Add &lt;it&gt;.</li><li>Sharpen.</li></ol><ul><li>so</li><li>and so</li></ul>"
    )


def test_the_kinds_take_turns():
    samples = [(name, SampleScore(name[0], (None, None), None, None, True, {})) for name in ("a1", "a2", "a3", "b1")]
    assert [name for name, _ in gallery.interleave_kinds(samples, 3)] == ["a1", "b1", "a2"]


def test_what_is_wrong_takes_turns_too_and_never_what_is_said_of_it():
    missing, blurred = Fault("missing", PlacedObject("red", "circle", "northwest")), Fault("blurred")
    found = {"a": (), "b": (missing,), "c": (missing, blurred), "d": None, "e": (blurred,)}
    samples = [
        (name, SampleScore("", (None, None), Reading(False, faults, None), None, True, {}))
        for name, faults in found.items()
    ]
    assert [name for name, _ in gallery.interleave_faults(samples, 4)] == ["a", "b", "e", "d"]


def test_a_card_shows_both_images_and_both_thinkings_with_at_most_512_pixels_per_side():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 600, 1200, 3), np.uint8)
    pixels[1, 300:] = 0
    small, large = Image.fromarray(pixels[0, :32, :32]), Image.fromarray(pixels[1])
    turns = (Turn("first", small, True), Turn("second", large, False))
    sample = Sample(pathlib.Path("x"), "a <red> circle", 3, 7, "run", 40, "", turns)
    html = gallery.card(sample, None)
    for label in ("Thinking 1", "Image 1", "Thinking 2", "Image 2", "first", "second", "a &lt;red&gt; circle"):
        assert label in html
    encoded = [part.split('"')[0] for part in html.split("data:image/png;base64,")[1:]]
    shown = [Image.open(io.BytesIO(base64.b64decode(text))) for text in encoded]
    np.testing.assert_array_equal(np.asarray(shown[0]), pixels[0, :32, :32])
    assert shown[1].size == (512, 256)
    assert html.count("cut off: ran out of tokens") == 1


def test_a_scored_card_shows_what_is_wrong_beside_what_is_named_and_how_much_is_kept():
    image = Image.new("RGB", (32, 32))
    sample = Sample(pathlib.Path("x"), "a red cross", 3, 7, "run", 40, "", (Turn("", image, True),) * 2)
    marks = (Score(False, (), 0.5, None), Score(True, (), 1.0, None))
    missing, blurred = Fault("missing", PlacedObject("red", "cross", "northwest")), Fault("blurred")

    def card(*reading):
        return gallery.card(sample, SampleScore("single_object", marks, Reading(*reading), 0.75, True, {}))

    html = card(False, (missing, blurred), frozenset({blurred}))
    assert "In image 1: The red cross northwest is missing. The edges are blurred.<" in html
    assert "Named: The edges are blurred.<" in html and "keeps 0.75 of what image 1 has right" in html
    assert "does not say exactly what image 1 shows" in html and "does not name exactly what is wrong" in html
    html = card(True, (blurred,), frozenset({blurred}))
    assert ">says exactly what image 1 shows" in html and ">names exactly what is wrong" in html
    html = card(True, (), frozenset())
    assert "In image 1: Nothing is wrong.<" in html and "Named: Nothing is wrong.<" in html
    assert "rightly finds nothing wrong" in html
    assert "does not say that nothing is wrong" in card(True, (), None) and "nothing that can be read" in card(
        True, (), None
    )
    assert "In image 1" not in card(True, None, frozenset())
