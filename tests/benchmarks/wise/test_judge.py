"""WISE's question and the reading of answers, equal to the official parsers."""

import pytest

from irg_jax.benchmarks.benchmark import Item, UnreadableAnswer
from irg_jax.benchmarks.wise.judge import PROTOCOLS, parse_legacy, parse_legacy_bagel, parse_verified
from irg_jax.core.errors import UserError
from tests.benchmarks import official

LEGACY, VERIFIED = PROTOCOLS["legacy"], PROTOCOLS["verified"]
ITEM = Item("7", 'a "cat" {explanation}', "CULTURE", 1, {"Explanation": "an animal"})


def marks(*values):
    return dict(zip(("consistency", "realism", "aesthetic_quality"), values, strict=False))


@pytest.mark.parametrize(("name", "parse"), [("parse_legacy", parse_legacy), ("parse_verified", parse_verified)])
def test_official_parsers(name, parse):
    for answer, values in official.load("wise/golden_scoring.json")[name]:
        assert parse(answer) == values, answer


@pytest.mark.parametrize(
    ("answer", "values"),
    [
        ("**Consistency**: 2\n**Realism**: 1\n**Aesthetic Quality**: 0", marks(2, 1, 0)),
        ("CONSISTENCY 1 realism: 1", marks(1, 1)),
        ("**Consistency:** 1", {}),  # the colon is inside of the bold
        ("Consistency：1", {}),
        ("Consistency: 1\nConsistency: 2", marks(2)),
        ("Consistency: 12", marks(1)),
        ("2\n1\n\n0\n2", marks(2, 1, 0)),
        ("2\n1\n3", {}),
        ("Realism: 1\n2\n2\n2", {"realism": 1.0}),
    ],
)
def test_what_the_legacy_parser_takes(answer, values):
    assert parse_legacy(answer) == values


def test_bagel_also_takes_full_width_colons_but_no_bare_lines():
    assert parse_legacy_bagel("Consistency：1\nRealism: 2") == marks(1, 2)
    assert parse_legacy_bagel("2\n1\n0") == {}


@pytest.mark.parametrize(
    ("answer", "values"),
    [
        ("**Score**: 1", {"score": 1.0}),
        ("Score: 0\nScore: 1", {"score": 0.0}),
        ("**Score:** 1", {}),
        ("Score: 10", {}),
        ("Score: 2", {}),
        ("It fits.\n1", {"score": 1.0}),
        ("1\n1", {}),
    ],
)
def test_what_the_verified_parser_takes(answer, values):
    assert parse_verified(answer) == values


def test_values_are_complete_and_on_the_scale():
    assert LEGACY.values("Consistency: 2\nRealism: 1\nAesthetic Quality: 0") == marks(2, 1, 0)
    assert VERIFIED.values("<think>Score: 0?</think>\nScore: 1") == {"score": 1.0}
    for answer, message in [("Consistency: 2\nRealism: 1", "no aesthetic_quality"), ("I cannot", "no consistency, re")]:
        with pytest.raises(UnreadableAnswer, match=message):
            LEGACY.values(answer)
    with pytest.raises(UnreadableAnswer, match="realism is 9, not 0 to 2"):
        LEGACY.values("Consistency: 2\nRealism: 9\nAesthetic Quality: 0")
    with pytest.raises(UnreadableAnswer, match="has no score"):
        VERIFIED.values("Sorry.")


@pytest.mark.parametrize("protocol", [LEGACY, VERIFIED])
def test_the_question_has_the_prompt_and_the_explanation(protocol):
    template = protocol.template(None)
    question = protocol.question(ITEM, template)
    assert 'Prompt: "a "cat" {explanation}"\nExplanation: "an animal"' in question.text
    assert (question.key, question.sample, question.system) == ("7", 0, "")
    assert not template.comparable and not question.logprobs
    assert "{prompt" not in question.text


def test_a_template_may_spell_its_places_as_the_official_scripts_do(tmp_path):
    (tmp_path / "template.txt").write_text("""P: {prompt_data['Prompt']} E: {prompt_data['Explanation']}""")
    question = LEGACY.question(ITEM, LEGACY.template(tmp_path / "template.txt"))
    assert question.text == 'P: a "cat" {explanation} E: an animal' and question.max_tokens == 2000
    (tmp_path / "template.txt").write_text("P: {prompt}")
    with pytest.raises(UserError, match=r"has no \{explanation\} or"):
        LEGACY.template(tmp_path / "template.txt")
