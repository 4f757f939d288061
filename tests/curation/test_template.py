"""Templates: what is filled in where, and mistakes in those of a user."""

import pytest

from irg_jax.core.errors import UserError
from irg_jax.curation.template import SHIPPED, Template, load_templates
from irg_jax.endpoints.pictures import Picture

ONE, TWO = (Picture(name, f"images/{name}.png", 1, 1, "") for name in "ab")


def test_texts_and_pictures_come_in_the_order_of_the_template():
    template = Template("x", "A {prompt} B\n{image1}\nC {image2}{image1} {not a place} {}", "d")
    filled = template.fill({"prompt": "{image1} $x", "image1": ONE, "image2": TWO})
    assert filled == ("A {image1} $x B", ONE, "C", TWO, ONE, "{not a place} {}"), "what is filled in is not read again"


def test_the_shipped_ones_are_whole():
    loaded = load_templates(None)
    assert sorted(f"{name}.txt" for name in loaded) == sorted(path.name for path in SHIPPED.iterdir())
    assert len({template.digest for template in loaded.values()}) == len(loaded)


def test_a_file_of_ones_own_replaces_the_shipped_one(tmp_path):
    (tmp_path / "thinking1.txt").write_text("Plan {prompt}.")
    loaded, shipped = load_templates(tmp_path), load_templates(None)
    assert loaded["thinking1"].fill_text({"prompt": "a cat"}) == "Plan a cat."
    assert loaded["thinking1"].digest != shipped["thinking1"].digest and loaded["thinking2"] == shipped["thinking2"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("thinking1.txt", "Plan it.", r"has no \{prompt\}"),
        ("thinking2.txt", "{prompt} {image1}", r"has no \{image2\}"),
        ("thinking1.txt", "{prompt} {image1}", r"\{image1\} cannot be filled in; allowed are \{prompt\}"),
        ("thinking_1.txt", "{prompt}", "not the name of a template; they are thinking1, "),
        ("thinking1.txt", b"caf\xe9 {prompt}", "cannot be read"),
    ],
)
def test_a_mistake_names_the_file(tmp_path, name, text, message):
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=message) as error:
        load_templates(tmp_path)
    assert str(error.value).startswith(str(tmp_path / name))


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="no such folder; copy the shipped one"):
        load_templates(tmp_path / "none")
