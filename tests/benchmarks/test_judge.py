"""Templates of questions: known by their SHA-256, filled in once, and the mistakes in a user's."""

import hashlib

import pytest

from irg_jax.benchmarks.judge import Template, check_places, load_template
from irg_jax.core.errors import UserError

TEXT = "Does it show {prompt}?"
DIGEST = hashlib.sha256(TEXT.encode()).hexdigest()
SYSTEM = "You judge."
SYSTEM_DIGEST = hashlib.sha256(SYSTEM.encode()).hexdigest()


def test_without_a_file_the_own_template_is_used_and_not_comparable():
    assert load_template(None, TEXT, {}, "") == Template(TEXT, "", DIGEST, "own", comparable=False)


@pytest.mark.parametrize("content", [TEXT, TEXT + "\n", TEXT.replace("\n", "\r\n") + "\r\n"])
@pytest.mark.parametrize("known", [DIGEST, DIGEST[:8]])
def test_an_official_template_is_known_by_its_digest(tmp_path, content, known):
    (tmp_path / "template.txt").write_bytes(content.encode())
    (tmp_path / "system.txt").write_bytes(SYSTEM.encode() + b"\n")
    loaded = load_template(tmp_path / "template.txt", "own", {known: "the official one"}, SYSTEM_DIGEST)
    assert loaded == Template(TEXT, SYSTEM, DIGEST, "the official one", comparable=True)


@pytest.mark.parametrize("system", [None, "You are another judge."])
def test_without_its_system_message_an_official_template_is_not_comparable(tmp_path, system):
    (tmp_path / "template.txt").write_text(TEXT)
    if system:
        (tmp_path / "system.txt").write_text(system)
    loaded = load_template(tmp_path / "template.txt", "own", {DIGEST: "the official one"}, SYSTEM_DIGEST)
    assert loaded == Template(TEXT, system or "", DIGEST, "the official one, other system", comparable=False)


def test_another_template_is_used_but_not_comparable(tmp_path):
    (tmp_path / "template.txt").write_text("Is it {prompt}?\n")
    loaded = load_template(tmp_path / "template.txt", "own", {DIGEST: "the official one"}, SYSTEM_DIGEST)
    assert (loaded.text, loaded.name, loaded.comparable) == ("Is it {prompt}?\n", "custom", False)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gpt_eval.py", "template = ''", "is a script; copy what stands between the quotes"),
        ("template.txt", " \n", "is empty"),
        ("template.txt", b"caf\xe9", "cannot be read"),
        ("template.txt", None, "cannot be read"),
    ],
)
def test_files_that_are_no_template(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=message):
        load_template(tmp_path / name, "own", {}, "")


def test_what_is_filled_in_is_not_filled_in_again():
    template = Template("{prompt} means {explanation}", "", "", "own", False)
    assert template.fill({"{prompt}": "a {explanation}", "{explanation}": r"\1"}) == r"a {explanation} means \1"


def test_a_place_may_have_several_spellings():
    template = Template("{prompt_data['Prompt']}", "", "", "own", False)
    check_places(template, [("{prompt}", "{prompt_data['Prompt']}")])
    with pytest.raises(UserError, match=r"has no \{explanation\} or \{e\}"):
        check_places(template, [("{explanation}", "{e}")])
