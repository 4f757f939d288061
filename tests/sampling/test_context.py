"""Answering, painting and editing against whole packed sequences, without any cache."""

import dataclasses

import numpy as np
import PIL.Image
import pytest

from irg_jax.data.conversation import Image
from irg_jax.data.images import encode_png
from irg_jax.errors import UserError
from tests import tiny
from tests.sampling.test_reasoning import PROMPTS, SETTINGS, Plain, sampler

PIXELS = np.random.default_rng(3).integers(0, 256, (32, 32, 3), np.uint8)
PICTURE = PIL.Image.fromarray(PIXELS)


@pytest.fixture
def plain():
    return Plain(seed=4, index=0)


def texts(plain):
    return plain.text(plain.encode(SETTINGS.system_prompt)), plain.text(plain.encode(PROMPTS[0]))


def assert_same_picture(ours, wanted):
    assert ours.shape == (32, 32, 3)
    assert np.abs(ours.astype(int) - wanted).max() <= 1


def test_painting_without_a_thought_is_guided_away_from_no_text(plain):
    system, prompt = texts(plain)
    wanted = plain.paint(SETTINGS.turn1, 0, [system, prompt], [system], None)
    assert_same_picture(sampler().paint(PROMPTS, seed=4)[0], wanted)


def test_editing_is_guided_away_from_no_text_and_from_no_picture(plain):
    system, prompt = texts(plain)
    seen = [system, Image(encode_png(PIXELS), need_vae=True, need_vit=True)]
    wanted = plain.paint(SETTINGS.turn2, 0, [*seen, prompt], seen, [system, prompt])
    assert_same_picture(sampler().edit(PICTURE, PROMPTS[0], seed=4), wanted)


def test_an_answer_sees_the_picture_through_the_vit_alone(plain):
    system, question = texts(plain)
    ids = plain.write([system, Image(encode_png(PIXELS), need_vit=True), question], SETTINGS.max_thinking[0])
    assert sampler().answer(PICTURE, PROMPTS[0]) == tiny.vocabulary().tokenizer.decode(ids)


def test_a_picture_of_another_size_is_answered_about_and_edited_at_its_own():
    wide = PICTURE.resize((32, 16))
    assert sampler().edit(wide, "a bench").shape == (16, 32, 3)
    assert isinstance(sampler().answer(wide, "a bench?"), str)


def test_a_question_that_is_too_long_is_refused():
    short = sampler(dataclasses.replace(SETTINGS, max_prompt=4))
    with pytest.raises(UserError, match="sampling.max_prompt 4"):
        short.answer(PICTURE, "a red bench " * 9)
