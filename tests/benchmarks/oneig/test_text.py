"""OneIG-Bench's text rendering: the official cases, and each rule by itself."""

import pytest

from irg_jax.benchmarks.benchmark import Row
from irg_jax.benchmarks.oneig import text
from irg_jax.core.errors import UserError
from tests.benchmarks import official


def read(wanted, answer):
    return text.values(wanted, {"ocr": answer})


def rows(*pairs):
    return [Row(f"text/{i:03d}", 0, "text", read(*pair)) for i, pair in enumerate(pairs)]


def test_official_cases():
    cases = official.load("oneig/golden_scoring.json")["text_cases"]
    for case in cases:
        assert text.normalise(case["gt"]) == case["gt_pre"]
        assert text.normalise(text.clean(case["ocr"])) == case["ocr_pre"]
        expected = (case["ED"], case["CR"], case["match"], case["gt_words"])
        assert tuple(read(case["gt"], case["ocr"]).values()) == expected, case["id"]
    found = text.components(rows(*((case["gt"], case["ocr"]) for case in cases)))
    distance, rate = (sum(case[name] for case in cases) / len(cases) for name in ("ED", "CR"))
    accuracy = sum(case["match"] for case in cases) / sum(case["gt_words"] for case in cases)
    assert found == pytest.approx((distance, rate, accuracy), abs=1e-12)
    score = 1 - min(100, distance) * (1 - rate) * (1 - accuracy) / 100
    assert text.score(found) == pytest.approx(score, abs=1e-12)


@pytest.mark.parametrize(("words", "tokens"), [(60, 128), (61, 256)])
def test_long_texts_may_have_longer_answers(words, tokens):
    (question,) = text.questions("word " * words)
    assert question.max_tokens == tokens and question.id == "ocr"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("Don't stop — now!", "Dont stop now"),
        ("  a\n\tb\u3000c ", "a b c"),
        ("Café À la carte: 7 €", "Café À la carte 7"),
        ("naïve señor", "naïve seor"),
        ("a_b-c", "abc"),
        ("你好 World 你", "你好World你"),  # a Chinese character takes all spaces away
        ("", ""),
    ],
)
def test_which_characters_count(before, after):
    assert text.normalise(before) == after


def test_phrases_for_no_text():
    assert text.clean("Open\naddCriterion\n") == "Open\n\n"
    assert text.clean("No text recognized.") == ""
    assert text.clean("No text recognized") == "No text recognized"  # as the official rule


@pytest.mark.parametrize(
    ("one", "other", "distance"),
    [("", "", 0), ("", "abc", 3), ("kitten", "sitting", 3), ("ab", "ba", 2), ("A", "a", 1)],
)
def test_edit_distance(one, other, distance):
    assert text.edit_distance(one, other) == text.edit_distance(other, one) == distance


def test_words_count_as_often_as_they_should_be_there():
    assert text.count_words("to be or not to be", "be to be be or") == (4, 6)
    assert text.count_words("a b", "") == (0, 2)
    assert text.count_words("你好你", "你你你") == (2, 3)


def test_the_score_is_of_all_images_together():
    found = text.components(rows(("one two", "one two"), ("three", "thre"), ("a b c", "")))
    assert found == pytest.approx(((0 + 1 + 5) / 3, 1 / 3, 2 / 6))
    assert text.score(found) == pytest.approx(1 - 2 * (2 / 3) * (4 / 6) / 100)


def test_distances_above_100_count_as_100():
    assert text.score(text.components(rows(("x" * 300, "")))) == 0


def test_nothing_was_read():
    with pytest.raises(UserError, match="has not been read"):
        text.values("a", {})
    with pytest.raises(UserError, match="no image has a text"):
        text.components([])
