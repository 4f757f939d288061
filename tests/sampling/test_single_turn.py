"""Image understanding, text to image and editing against the reference without a KV cache (test_two_turn)."""

import dataclasses

import numpy as np
import PIL.Image
import pytest

from irg_jax.core.errors import UserError
from irg_jax.data.conversation import Image
from irg_jax.data.images import encode_png
from tests import tiny
from tests.sampling.test_two_turn import CONFIG, PROMPTS, Reference, sampler

PIXELS = np.random.default_rng(3).integers(0, 256, (32, 32, 3), np.uint8)
IMAGE = PIL.Image.fromarray(PIXELS)
WIDE = np.random.default_rng(4).integers(0, 256, (16, 32, 3), np.uint8)


@pytest.fixture
def reference():
    return Reference(seed=4, index=0)


def texts(reference, prompt=PROMPTS[0]):
    return reference.text(reference.encode(CONFIG.system_prompt)), reference.text(reference.encode(prompt))


def assert_same_image(image, expected):
    assert image.shape == (32, 32, 3)
    assert np.abs(image.astype(int) - expected).max() <= 1


def test_text_to_image_is_guided_away_from_no_text(reference):
    system, prompt = texts(reference)
    expected = reference.sample_image(CONFIG.turn1, 0, [system, prompt], [system], None)
    assert_same_image(sampler().text_to_image(PROMPTS, seed=4)[0], expected)


def test_editing_is_guided_away_from_no_text_and_from_no_image(reference):
    system, prompt = texts(reference)
    seen = [system, Image(encode_png(PIXELS), need_vae=True, need_vit=True)]
    expected = reference.sample_image(CONFIG.turn2, 0, [*seen, prompt], seen, [system, prompt])
    assert_same_image(sampler().edit([IMAGE], PROMPTS[0], seed=4), expected)


def test_an_answer_sees_the_image_through_the_vit_alone(reference):
    system, question = texts(reference)
    ids = reference.decode([system, Image(encode_png(PIXELS), need_vit=True), question], CONFIG.max_thinking[0])
    assert sampler().answer([IMAGE], PROMPTS[0]) == tiny.processor().tokenizer.decode(ids)


@pytest.mark.parametrize("order", [(WIDE, PIXELS), (PIXELS, WIDE)], ids=["wide first", "wide last"])
def test_editing_sees_all_images_in_order_and_no_image_leaves_out_all_of_them(order):
    reference = Reference(seed=4, index=0, size=order[-1].shape[:2])
    system, prompt = texts(reference)
    seen = [system, *(Image(encode_png(pixels), need_vae=True, need_vit=True) for pixels in order)]
    expected = reference.sample_image(CONFIG.turn2, 0, [*seen, prompt], seen, [system, prompt])
    found = sampler().edit([PIL.Image.fromarray(pixels) for pixels in order], PROMPTS[0], seed=4)
    assert found.shape == order[-1].shape
    assert np.abs(found.astype(int) - expected).max() <= 1


def test_an_answer_sees_all_images_in_order(reference):
    system, question = texts(reference, PROMPTS[1])
    # Images for which the random model's answer depends on their order.
    wide, square = (np.random.default_rng(i).integers(0, 256, (h, 32, 3), np.uint8) for i, h in ((0, 16), (50, 32)))
    answers = []
    for order in ((wide, square), (square, wide)):
        seen = [Image(encode_png(pixels), need_vit=True) for pixels in order]
        ids = reference.decode([system, *seen, question], CONFIG.max_thinking[0])
        answers.append(sampler().answer([PIL.Image.fromarray(pixels) for pixels in order], PROMPTS[1]))
        assert answers[-1] == tiny.processor().tokenizer.decode(ids)
    assert answers[0] != answers[1]


def test_the_order_of_images_of_one_size_matters():
    one, other = IMAGE, PIL.Image.fromarray(PIXELS[::-1])
    first, second = (sampler().edit(pictures, PROMPTS[0], seed=4) for pictures in ([one, other], [other, one]))
    assert (first != second).any()


@pytest.mark.parametrize("images", [IMAGE, []], ids=["an image", "none"])
def test_images_that_are_no_list_are_refused(images):
    for call in (sampler().edit, sampler().answer):
        with pytest.raises(UserError, match="images: .* is not a list of one or more images"):
            call(images, "a bench")


def test_an_image_of_another_size_keeps_its_size():
    wide = IMAGE.resize((32, 16))
    assert sampler().edit([wide], "a bench").shape == (16, 32, 3)
    assert isinstance(sampler().answer([wide], "a bench?"), str)


def test_a_question_that_is_too_long_raises():
    short = sampler(dataclasses.replace(CONFIG, max_prompt=4))
    with pytest.raises(UserError, match="sampling.max_prompt 4"):
        short.answer([IMAGE], "a red bench " * 9)
