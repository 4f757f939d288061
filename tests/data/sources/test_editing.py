"""Edited pictures from parquet files: layouts, the shares of spans, wordings and joined steps, and every fault."""

import collections
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from irg_jax.core.errors import UserError
from irg_jax.data.conversation import Image, Text
from irg_jax.data.sources import editing
from tests.data.sources.checks import check_imports, check_source, crc

TYPES = {"image_list": pa.list_(pa.binary()), "instruction_list": pa.list_(pa.list_(pa.string()))}


def write(path, rows):
    columns = zip(*rows, strict=True)
    table = {name: pa.array(values, kind) for (name, kind), values in zip(TYPES.items(), columns, strict=True)}
    pq.write_table(pa.table(table), path)
    return path


def row(*wordings, name="picture"):
    """A row with these numbers of wordings of its steps."""
    images = [f"{name} {i}".encode() for i in range(len(wordings) + 1)]
    return images, [[f"step {i} wording {j}" for j in range(count)] for i, count in enumerate(wordings)]


def read(tmp_path, *rows):
    write(tmp_path / "a.parquet", rows)
    source = editing.open_source(tmp_path)
    return [source.read(i) for i in range(len(source))]


def first(i):
    return Image(f"picture {i}".encode(), need_vae=True, need_vit=True)


def middle(i):
    return Image(f"picture {i}".encode(), need_loss=True, need_vae=True, need_vit=True)


def last(i):
    return Image(f"picture {i}".encode(), need_loss=True)


def step(i, j=0):
    return Text(f"step {i} wording {j}")


def counts(record):
    return collections.Counter(made.parts for made in record.conversations)


def test_one_step_has_its_wordings_once_each(tmp_path):
    (record,) = read(tmp_path, row(3))
    assert counts(record) == {(first(0), step(0, j), last(1)): 1 for j in range(3)}
    images, wordings = row(3)
    assert record.crc == crc(*images, *map(str.encode, wordings[0]))


def test_two_steps_are_a_start_a_length_and_joined_or_not_in_equal_shares(tmp_path):
    (record,) = read(tmp_path, row(1, 1))
    joined = Text("step 0 wording 0. step 1 wording 0")
    assert counts(record) == {
        (first(1), step(1), last(2)): 4,
        (first(0), step(0), last(1)): 2,
        (first(0), step(0), middle(1), step(1), last(2)): 1,
        (first(0), joined, last(2)): 1,
    }


@pytest.mark.parametrize(
    ("one", "joined"),
    [("Make it red.", "Make it red. Add a cat"), ("red! ", "red! Add a cat"), ("变红。", "变红。 Add a cat")],
)
def test_joined_steps_are_sentences(tmp_path, one, joined):
    images, _ = row(1, 1)
    (record,) = read(tmp_path, (images, [[one], ["Add a cat"]]))
    assert (first(0), Text(joined), last(2)) in counts(record)


def probabilities(wordings):
    """Of each conversation, as the draws are described: start, length, form and wordings, one after another."""
    found = collections.Counter()
    steps = len(wordings)
    for start in range(steps):
        p = Fraction(1, steps)
        lengths = 1 if start == steps - 1 else 2
        for j in range(wordings[start]):
            found[first(start), step(start, j), last(start + 1)] += p / lengths / wordings[start]
            for k in range(wordings[start + 1] if lengths == 2 else 0):
                share = p / 4 / wordings[start] / wordings[start + 1]
                found[first(start), step(start, j), middle(start + 1), step(start + 1, k), last(start + 2)] += share
                joined = Text(f"step {start} wording {j}. step {start + 1} wording {k}")
                found[first(start), joined, last(start + 2)] += share
    assert sum(found.values()) == 1
    return found


EXACT = [((1,), 1), ((16,), 16), ((7,), 7), ((1, 1), 8), ((1, 2), 16), ((1, 1, 1), 12), ((1, 1, 1, 1), 16)]


@pytest.mark.parametrize(("wordings", "length"), EXACT)
def test_the_list_is_exact_where_sixteen_conversations_suffice(tmp_path, wordings, length):
    (record,) = read(tmp_path, row(*wordings))
    assert counts(record) == {parts: p * length for parts, p in probabilities(wordings).items()}


# With the number of conversations, and in what the list is exact: starts, then forms.
ROUNDED = [
    ((20,), 16, 2),
    ((2, 3), 16, 2),
    ((2, 1, 2), 12, 2),
    ((1,) * 5, 15, 1),
    ((3,) * 8, 16, 1),
    ((2,) * 30, 16, 0),
]


@pytest.mark.parametrize(("wordings", "length", "levels"), ROUNDED)
def test_other_lists_are_rounded_up_or_down_and_hold_on_average(wordings, length, levels):
    images, texts = row(*wordings)
    wanted, total = probabilities(wordings), collections.Counter()
    shifts = np.random.default_rng(0).integers(0, 2**32, 200)
    for shift in shifts.tolist():
        made = collections.Counter(editing._represent(images, texts, shift))
        assert made.total() == length
        for group in (_start, _form)[:levels]:
            assert _grouped(made, group) == {name: p * length for name, p in _grouped(wanted, group).items()}
        for parts, p in wanted.items():
            assert p * length - 1 < made[parts] < p * length + 1
        total += made
    for group in (_start, _form):
        for name, p in _grouped(wanted, group).items():
            assert abs(_grouped(total, group)[name] / total.total() - p) < 0.01
    assert max(abs(total[parts] / total.total() - p) for parts, p in wanted.items()) < 0.02
    assert len(total) > 0.9 * min(len(wanted), 200)  # nothing is left out for good


def _start(parts):
    return parts[0]


def _form(parts):
    """The pictures, and whether two steps are one text."""
    return tuple(part if isinstance(part, Image) else "." in part.content for part in parts)


def _grouped(counted, group):
    found = collections.Counter()
    for parts, count in counted.items():
        found[group(parts)] += count
    return found


def test_the_list_depends_on_the_contents_alone(tmp_path):
    one, same, other = read(tmp_path, row(9, 9), row(9, 9), row(9, 9, name="foto"))
    assert [c.parts for c in one.conversations] == [c.parts for c in same.conversations]
    assert [c.parts[1] for c in one.conversations] != [c.parts[1] for c in other.conversations]


def test_it_is_a_source(tmp_path):
    write(tmp_path / "a.parquet", [row(1), row(2, 1, 3)])
    write(tmp_path / "b.parquet", [row(20)])
    source = editing.open_source(tmp_path)
    assert (source.kind, [source.key(i) for i in range(3)]) == (
        "editing v1",
        ["a.parquet:0", "a.parquet:1", "b.parquet:0"],
    )
    check_source(source, tmp_path)
    check_imports(editing.__name__)


BAD = [
    # pictures, wordings, message
    (None, [["a"]], "image_list is null; it must have two pictures or more"),
    ([], [], "image_list has 0; it must have two pictures or more"),
    ([b"1"], [], "image_list has 1; it must have two pictures or more"),
    ([b"1", None], [["a"]], r"image_list\[1\] is null; write the image"),
    ([b"", b"2"], [["a"]], r"image_list\[0\] is empty; write the image"),
    ([b"1", b"2"], None, "instruction_list is null; 2 pictures need 1 lists of wordings"),
    ([b"1", b"2"], [["a"], ["b"]], "instruction_list has 2; 2 pictures need 1 lists of wordings"),
    ([b"1", b"2", b"3"], [["a"]], "instruction_list has 1; 3 pictures need 2 lists of wordings"),
    ([b"1", b"2"], [None], r"instruction_list\[0\] is null; write at least one"),
    ([b"1", b"2", b"3"], [["a"], []], r"instruction_list\[1\] has no wordings; write at least one"),
    ([b"1", b"2"], [["a", None]], r"instruction_list\[0\]\[1\] is null; it must be a string"),
    ([b"1", b"2"], [["a", " "]], r"instruction_list\[0\]\[1\] is empty; write it"),
]


@pytest.mark.parametrize(("images", "wordings", "message"), BAD, ids=range(len(BAD)))
def test_a_bad_row_is_named(tmp_path, images, wordings, message):
    write(tmp_path / "a.parquet", [row(1), (images, wordings)])
    source = editing.open_source(tmp_path)
    with pytest.raises(UserError, match=f"^record a.parquet:1: {message}"):
        source.read(1)
    assert source.read(0)


BAD_COLUMNS = [
    ({"image_list": [[b"x"]]}, "needs one column 'instruction_list', has image_list"),
    ({"instruction_list": [[["x"]]]}, "needs one column 'image_list', has instruction_list"),
    (
        {"image_list": [["x"]], "instruction_list": [[["x"]]]},
        "'image_list' is of type .*; write it as lists of encoded",
    ),
    ({"image_list": [b"x"], "instruction_list": [[["x"]]]}, "'image_list' is of type binary; write it as lists"),
    (
        {"image_list": [[b"x"]], "instruction_list": [["x"]]},
        "'instruction_list' is of type .*; write it as lists of li",
    ),
]


@pytest.mark.parametrize(("columns", "message"), BAD_COLUMNS)
def test_bad_columns_are_named(tmp_path, columns, message):
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=f"^{tmp_path}/a.parquet: .*{message}"):
        editing.open_source(tmp_path)
