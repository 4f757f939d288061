"""OneIG-Bench's manner: words, styles, and prompts that leave much open."""

import string

from irg_jax.worlds.shapes.draw import SPLITS, split_of_word
from irg_jax.worlds.shapes.lettering import LETTERS, MOST_LETTERS
from irg_jax.worlds.shapes.manners.words import WORDS
from irg_jax.worlds.shapes.objects import COLOURS, NUMBERS, SHAPES
from irg_jax.worlds.shapes.picture import STYLES
from irg_jax.worlds.shapes.questions import failed_checks
from tests.worlds.shapes.manners.drawing import imagine, scene_of, scenes


def test_words_are_short_and_name_nothing_that_could_be_drawn():
    assert len(set(WORDS)) == len(WORDS) >= 150
    assert all(1 <= len(word) <= MOST_LETTERS and set(word) <= set(LETTERS) for word in WORDS)
    assert not {word.lower() for word in WORDS} & {*COLOURS, *NUMBERS, *SHAPES}


def test_the_splits_share_no_word_and_training_has_every_letter():
    train, held_out = ({s.word for s in scenes("oneig", 600, 32, split) if s.word} for split in SPLITS)
    assert not train & held_out
    assert len(held_out) > 15
    assert {letter for word in WORDS if split_of_word(word) == "train" for letter in word} == {*string.ascii_uppercase}


def test_another_word_or_none_fails():
    scene = scene_of("oneig", "text")
    assert f'"{scene.word}"' in scene.prompts[0]
    shown = [failed_checks(scene.checks, imagine(scene.objects, 32, word)) for word in (scene.word, "QQ", "")]
    assert [len(failed) for failed in shown] == [0, 1, 1]


def test_another_style_fails():
    for seed in range(8):
        scene = scene_of("oneig", "style", seed=seed)
        right = [not failed_checks(scene.checks, imagine(scene.objects, 32, style=style)) for style in STYLES]
        assert right == [style == scene.style for style in STYLES]


def test_much_is_left_open():
    """Most pictures of diversity's scenes are right for another scene with the same prompt."""
    by_prompt = {}
    for scene in scenes("oneig", 600, 48):
        if scene.kind == "diversity":
            by_prompt.setdefault(scene.prompts, []).append(scene)
    for alike in by_prompt.values():
        for scene in alike:
            assert not failed_checks(alike[0].checks, imagine(scene.objects, 48))
    assert max(len({scene.objects for scene in alike}) for alike in by_prompt.values()) > 10
