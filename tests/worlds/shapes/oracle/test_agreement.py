"""The oracle's answers agree with the scorer on a thousand random pictures, most of which are not as they should be."""

import base64
import io

import numpy as np
import openai
import PIL.Image
import pytest

from irg_jax.worlds.shapes.base.plans import Plans, weaker_picture
from irg_jax.worlds.shapes.objects import COLOURS, NUMBERS, SHAPES, plural, with_article
from irg_jax.worlds.shapes.oracle.answers import Oracle
from irg_jax.worlds.shapes.oracle.server import Server
from irg_jax.worlds.shapes.prompts import WORDINGS, parse_prompt, write_prompt
from irg_jax.worlds.shapes.relations import RELATIONS, relative_position
from irg_jax.worlds.shapes.render import render
from irg_jax.worlds.shapes.scene import Scene
from irg_jax.worlds.shapes.scene_pictures import improved_picture, weak_picture
from irg_jax.worlds.shapes.score import score_image
from irg_jax.worlds.shapes.world import make_trajectory
from tests.worlds.shapes.oracle.asking import chat, encode

BLANK = np.full((32, 32, 3), 238, np.uint8)


def draw(rng, record, size=32):
    """A random picture of the record's plan, weak or improved, or of another one with any number of differences."""
    other = Plans("train", size, ("geneval",))
    scene = Scene.from_json(record.scene) if rng.random() < 0.5 else other.draw(rng)
    picture = (weak_picture, weaker_picture)[rng.integers(2)](rng, scene, size)
    return render(improved_picture(picture, scene) if rng.random() < 0.4 else picture, size)


def noisy(rng, image, sigma):
    return np.clip(np.rint(image + rng.normal(0, sigma, image.shape)), 0, 255).astype(np.uint8)


def random_picture(rng, kind, record):
    """(encoded picture, the pixels that are to be seen in it)."""
    size = 64 if rng.random() < 0.05 else 32
    if kind == "right":
        return record.image2, np.asarray(PIL.Image.open(io.BytesIO(record.image2)))
    if kind == "cut off":
        return record.image2[: rng.integers(1, len(record.image2) - 20)], BLANK
    if kind == "rectangle":
        return encode(draw(rng, record)[:, :16]), BLANK
    if kind == "blank":
        pixels = np.full((size, size, 3), rng.integers(256), np.uint8)
    elif kind == "noise":
        pixels = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
    elif kind == "noisy":
        pixels = noisy(rng, draw(rng, record, size), rng.integers(5, 60))
    elif kind == "half painted over":
        pixels = draw(rng, record, size)
        pixels[size // 3 :, size // 3 :] = rng.integers(0, 256, 3)
    elif kind == "jpeg":
        encoded = encode(draw(rng, record), "JPEG", quality=75)
        return encoded, np.asarray(PIL.Image.open(io.BytesIO(encoded)))
    else:
        pixels = draw(rng, record, size)
    return encode(pixels), pixels


KINDS = ("right", "other", "blank", "noise", "noisy", "half painted over", "jpeg", "cut off", "rectangle", "other")


def questions_and_answers(rng, seen):
    colour, number = COLOURS[rng.integers(6)], int(rng.integers(1, 4))
    shape, other = (SHAPES[i] for i in rng.permutation(5)[:2])
    relation = RELATIONS[rng.integers(4)]
    of_shape, of_other = ([thing for thing in seen if thing.shape == name] for name in (shape, other))
    related = [relation in relative_position(a.box, b.box) for a in of_shape for b in of_other]
    return {
        f"Is there {with_article(f'{colour} {shape}')} in the image?": any(
            thing.colour == colour for thing in of_shape
        ),
        f"Are there {NUMBERS[number]} {plural(shape)}?": len(of_shape) == number,
        f"Is there more than one {shape}?": len(of_shape) > 1,
        f"Is the {shape} {colour}?": bool(of_shape) and all(thing.colour == colour for thing in of_shape),
        f"Is the {shape} {relation} the {other}?": bool(related) and all(related),
    }


@pytest.mark.parametrize("kind", sorted(set(KINDS)))
def test_answers_agree_with_the_scorer(kind):
    rng, oracle, right, differing = np.random.default_rng(KINDS.index(kind)), Oracle(), 0, set()
    for index in range(100 * KINDS.count(kind)):
        record = make_trajectory(11, "held_out", index)
        encoded, image = random_picture(rng, kind, record)
        score = score_image(image, Scene.from_json(record.scene))
        expected = questions_and_answers(rng, score.seen.objects)
        answers = oracle(chat("\n".join(expected), encoded)).text.splitlines()
        assert answers == ["Yes" if answer else "No" for answer in expected.values()], (kind, index)
        verdict = oracle(chat(f'Does this figure show "{record.prompt}"? Please answer yes or no.', encoded))
        assert (verdict.first["Yes"] > 0.5) == score.correct, (kind, index)
        assert oracle(chat(f"{record.prompt}\nScore: 0 or 1", encoded)).text == f"Score: {int(score.correct)}"
        right += score.correct
        differing |= set(answers)
    if kind == "right":
        assert right == 100
    if kind in ("other", "jpeg", "noisy"):
        assert differing == {"Yes", "No"}, "both answers occur"


def test_they_agree_over_http_too():
    rng = np.random.default_rng(1)
    with Server(Oracle()) as server:
        client = openai.OpenAI(base_url=server.url, api_key="none", max_retries=0, timeout=10)
        for index, kind in enumerate(KINDS):
            record = make_trajectory(12, "held_out", index)
            encoded, image = random_picture(rng, kind, record)
            url = f"data:image/png;base64,{base64.b64encode(encoded).decode()}"
            text = f'Does this figure show "{record.prompt}"? Please answer yes or no.'
            parts = [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": url}}]
            made = client.chat.completions.create(model="judge", messages=[{"role": "user", "content": parts}])
            correct = score_image(image, Scene.from_json(record.scene)).correct
            assert made.choices[0].message.content == ("Yes" if correct else "No"), kind
            assert correct or kind != "right"


def test_every_wording_of_the_world_is_judged():
    rng = np.random.default_rng(0)
    for wording in range(max(map(len, WORDINGS.values()))):
        record = make_trajectory(0, "train", int(rng.integers(1000)))
        scene = Scene.from_json(record.scene)
        prompt = write_prompt(scene, wording % len(WORDINGS[scene.kind]))
        assert parse_prompt(prompt) is not None
        assert Oracle()(chat(f'Does this figure show "{prompt}"?', record.image2)).text == "Yes"
