"""The published folders: rows of a trajectory become one record, and every kind of damage is listed with its reason."""

import base64
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from irg_jax.core.errors import UserError
from irg_jax.data import modes
from irg_jax.data.sources.irgl import parse
from irg_jax.data.trajectory import CONTENTS, content_hash
from tests.data.importing.inputs import (
    PART,
    TOY,
    Copy,
    animated,
    build_from,
    encoded,
    png_of,
    records,
    rejected,
    sixteen_bits,
)

FULL = "improving_full_learning"
GENERATION = "improving_thinking_generation_learning"
UNDERSTANDING = "improving_thinking_understanding_learning"
INITIAL = "initial_full_learning"
INITIAL_TEXT = "initial_thinking_generation_learning"
INITIAL_UNDERSTANDING = "initial_thinking_understanding_learning"


def test_the_toy_data_set_becomes_one_record_per_trajectory(tmp_path):
    report = build_from(f"parquet:{TOY}", tmp_path / "out")
    made = records(tmp_path / "out")
    assert report["records"] == {"train": 24} and report["rows"] == 6 * 24 and report["rejected"] == 0
    for mode, table in modes.MODES.items():
        cells = pq.read_table(TOY / mode / PART).column("conversation").to_pylist()
        for record, cell in zip(made, cells, strict=True):
            published = parse(cell, record.key).parts
            ours = modes.conversation(record, table).parts
            # The question of the understanding modes is in the publisher's words.
            assert published[1:] == ours[1:] if "understanding" in mode else published == ours
    assert [record.key for record in made] == [f"{FULL}/{PART}:{i}" for i in range(24)]
    assert all(record.hash == content_hash(record) for record in made)


def only(tmp_path, **rows):
    """Builds from some modes and rows of the toy data set; gives the fields that each record has."""
    copy = Copy(tmp_path / "in")
    copy.cells = {mode: [copy.cells[mode][i] for i in chosen] for mode, chosen in rows.items()}
    build_from(copy.write(), tmp_path / "out")
    return [
        "".join(name[0] + name[-1] for name in CONTENTS if getattr(record, name))
        for record in records(tmp_path / "out")
    ], rejected(tmp_path / "out")


@pytest.mark.parametrize(
    ("rows", "made"),
    [
        ({UNDERSTANDING: [0], GENERATION: [0]}, ["ptt1i1t2i2"]),  # thinking 2 and image 1 agree
        ({INITIAL: [0], GENERATION: [0]}, ["ptt1i1t2i2"]),  # thinking 1 agrees
        ({INITIAL: [0], UNDERSTANDING: [0]}, ["ptt1i1t2i2"]),  # image 2 agrees
        ({INITIAL: [0, 1], INITIAL_TEXT: [0]}, ["ptt1i2", "ptt1i2"]),  # a row that another one contains
        ({INITIAL: [0], GENERATION: [1]}, ["ptt1i1t2", "ptt1i2"]),  # another trajectory
        ({INITIAL: [0], INITIAL_UNDERSTANDING: [0, 0]}, ["ptt1i2"]),  # repeated
    ],
)
def test_rows_that_agree_are_merged(tmp_path, rows, made):
    assert only(tmp_path, **rows) == (made, [])


def test_rows_stay_apart_where_two_could_go_with_a_third(tmp_path):
    copy = Copy(tmp_path / "in")
    copy.cells = {INITIAL: [copy.cells[INITIAL][0]] * 2, GENERATION: [copy.cells[GENERATION][0]]}
    copy.image(INITIAL, 1, encoded())
    build_from(copy.write(), tmp_path / "out")
    assert [bool(record.image2) for record in records(tmp_path / "out")] == [False, True, True]


@pytest.mark.parametrize(
    "text", ["{question}\n{prompt}", "{prompt}\n{question}", "{prompt}\nOf\ntwo lines, {question}"]
)
def test_a_prompt_is_told_from_a_question_before_or_after_it(tmp_path, text):
    copy = Copy(tmp_path / "in")
    copy.cells = {
        INITIAL_UNDERSTANDING: copy.cells[INITIAL_UNDERSTANDING][:4],
        INITIAL_TEXT: copy.cells[INITIAL_TEXT][:2],
    }
    # Two prompts are in other rows too; the other two are found by the question that these reveal.
    prompts = [f"a photo\nof {i} things" for i in range(4)]
    for i in range(4):
        wording = text.format(prompt=prompts[i], question="how is it planned?")
        copy.turns(INITIAL_UNDERSTANDING, i, lambda turns, w=wording: turns[0].update(content=w))
    for i in range(2):
        copy.turns(INITIAL_TEXT, i, lambda turns, i=i: turns[0].update(content=prompts[i]))
    build_from(copy.write(), tmp_path / "out")
    assert rejected(tmp_path / "out") == []
    assert sorted(record.prompt for record in records(tmp_path / "out")) == prompts


def flags(turns):
    for part in turns[1]["content"]:
        if part["type"] == "image":
            part.pop("need_loss", None)


def repeat_key(copy, mode, row):
    copy.cells[mode][row] = copy.cells[mode][row].replace('{"role"', '{"role": "user", "role"', 1)


def set_user(copy, mode, row, text):
    copy.turns(mode, row, lambda turns: turns[0].update(content=text))


def jpeg():
    return encoded((64, 64), "JPEG")


PROMPT = "a photo of something new"
# kind of damage: mode, row, how, reason
DAMAGE = {
    "invalid JSON": (FULL, 0, lambda c, m, r: c.cells[m].__setitem__(r, "[{"), "conversation is not valid JSON"),
    "unknown role": (FULL, 1, lambda c, m, r: c.turns(m, r, lambda t: t[0].update(role="critic")), 'role is "critic"'),
    "no flag": (INITIAL, 2, lambda c, m, r: c.turns(m, r, flags), "part 2, an image, has none of the flags"),
    "bad base64": (FULL, 3, lambda c, m, r: c.image(m, r, "no base64!"), "which is not base64"),
    "truncated PNG": (
        FULL,
        4,
        lambda c, m, r: c.image(m, r, encoded((64, 64))[:-60]),
        "image2: an image cannot be decoded",
    ),
    "truncated JPEG": (FULL, 5, lambda c, m, r: c.image(m, r, jpeg()[:-60], 0), "image1: an image cannot be decoded"),
    "bomb": (FULL, 6, lambda c, m, r: c.image(m, r, png_of(20_000, 20_000)), "image2: an image"),
    "no pixels": (FULL, 7, lambda c, m, r: c.image(m, r, png_of(0, 8)), "image2: "),
    "too wide": (
        FULL,
        8,
        lambda c, m, r: c.image(m, r, encoded((30_000, 3_000), mode="1")),
        "30000 x 3000 pixels",
    ),
    "animated": (FULL, 9, lambda c, m, r: c.image(m, r, animated()), "image2: is animated, 3 frames"),
    "no image": (FULL, 10, lambda c, m, r: c.image(m, r, b"<html>"), "image2: an image cannot be decoded"),
    "floats": (FULL, 11, lambda c, m, r: c.image(m, r, encoded(kind="TIFF", mode="F")), "a TIFF image of floats"),
    "empty text": (GENERATION, 12, lambda c, m, r: set_user(c, m, r, " \n "), "prompt is empty"),
    "overlong text": (GENERATION, 13, lambda c, m, r: set_user(c, m, r, "x" * 100_001), "100001 characters, more than"),
    "null": (GENERATION, 14, lambda c, m, r: c.cells[m].__setitem__(r, None), "conversation is null"),
    "not UTF-8": (GENERATION, 15, lambda c, m, r: c.cells[m].__setitem__(r, b"[\xff]"), "conversation is not UTF-8"),
    "lone surrogate": (GENERATION, 16, lambda c, m, r: set_user(c, m, r, "a \ud800"), "half of a surrogate pair"),
    "repeated key": (GENERATION, 17, repeat_key, "'role' appears twice"),
    "other parts": (GENERATION, 18, lambda c, m, r: c.turns(m, r, lambda t: t[1]["content"].pop()), "its parts are"),
    "unknown prompt": (
        UNDERSTANDING,
        19,
        lambda c, m, r: set_user(c, m, r, f"{PROMPT}\nwhy?"),
        "no other row has the prompt",
    ),
}


def test_every_kind_of_damage_is_one_rejection_with_file_row_and_reason(tmp_path):
    copy = Copy(tmp_path / "in")
    for mode, row, damage, _ in DAMAGE.values():
        damage(copy, mode, row)
    source = copy.write()
    extra = tmp_path / "in" / INITIAL / "part-00001.parquet"
    pq.write_table(pa.table({"conversations": ["[]", "[]"]}), extra)
    report = build_from(source, tmp_path / "out")
    wanted = {(f"{mode}/{PART}", row): reason for mode, row, _, reason in DAMAGE.values()}
    wanted[f"{INITIAL}/part-00001.parquet", None] = "the file has no column 'conversation'"
    found = {(one["file"], one["row"]): one["reason"] for one in rejected(tmp_path / "out")}
    assert found.keys() == wanted.keys()
    for where, reason in wanted.items():
        assert reason in found[where], (where, found[where])
        assert "\n" not in found[where] and len(found[where]) < 400
    assert report["rejected"] == len(DAMAGE) + 2 and report["rows"] == 6 * 24 + 2
    # No row costs another one: whatever a damaged row had is in the other modes' rows of the same trajectory.
    assert len(records(tmp_path / "out")) == 24


def wrapped(text):
    return base64.encodebytes(base64.b64decode(text)).decode()


def url_safe(text):
    return base64.urlsafe_b64encode(base64.b64decode(text)).decode().rstrip("=")


def test_other_spellings_of_base64_are_accepted_and_counted(tmp_path):
    copy = Copy(tmp_path / "in")
    for row, spell in enumerate([lambda text: f"data:image/png;base64,{text}", wrapped, url_safe]):
        copy.image(FULL, row, spell(copy.content(FULL, row)))
    report = build_from(copy.write(), tmp_path / "out")
    assert rejected(tmp_path / "out") == []
    counts = [
        report["noted"].get(name)
        for name in ("base64: data URI", "base64: line breaks", "base64: no padding + URL alphabet")
    ]
    assert counts == [1, 1, 1]
    assert len(records(tmp_path / "out")) == 24  # the bytes are those of the other modes' rows


def test_cmyk_and_sixteen_bits_are_accepted_as_they_are(tmp_path):
    copy = Copy(tmp_path / "in")
    copy.cells = {FULL: copy.cells[FULL][:2]}
    unusual = [encoded(kind="JPEG", mode="CMYK"), sixteen_bits()]
    for row, content in enumerate(unusual):
        copy.image(FULL, row, content)
    build_from(copy.write(), tmp_path / "out")
    assert [record.image2 for record in records(tmp_path / "out")] == unusual


def test_other_flags_than_the_table_has_are_rejected(tmp_path):
    copy = Copy(tmp_path / "in")
    copy.turns(INITIAL, 0, lambda turns: turns[1]["content"][0].update(need_loss=False))
    build_from(copy.write(), tmp_path / "out")
    (one,) = rejected(tmp_path / "out")
    assert one["reason"] == "part 1 (thinking1) has no flag; its mode has need_loss"


def test_too_many_rejections_refuse_the_build_and_leave_the_list_beside(tmp_path):
    copy = Copy(tmp_path / "in")
    copy.cells[FULL][3] = "[{"
    source, out = copy.write(), tmp_path / "out"
    with pytest.raises(UserError, match="1 of 144 rows cannot be used, more than --max_rejected 0.001; .*:3|row 3"):
        build_from(source, out, max_rejected=0.001)
    (line,) = (tmp_path / "out.rejected.jsonl").read_text().splitlines()
    assert json.loads(line)["row"] == 3 and not out.exists()
    build_from(source, out, max_rejected=0.01)
    assert not (tmp_path / "out.rejected.jsonl").exists() and len(rejected(out)) == 1


def test_a_damaged_page_costs_its_rows_only(tmp_path):
    copy = Copy(tmp_path / "in")
    copy.cells = {INITIAL_TEXT: copy.cells[INITIAL_TEXT]}
    source = copy.write()
    path = tmp_path / "in" / INITIAL_TEXT / PART
    pq.write_table(pq.read_table(path), path, row_group_size=10, write_page_checksum=True, compression="none")
    content = path.read_bytes()
    at = content.index(b"conversation") if content.count(b"role") == 0 else content.index(b"role", len(content) // 3)
    path.write_bytes(content[:at] + b"bole" + content[at + 4 :])
    report = build_from(source, tmp_path / "out")
    (one,) = rejected(tmp_path / "out")
    assert one["rows"] in (4, 10) and "cannot be read" in one["reason"] and report["rejected"] == one["rows"]


@pytest.mark.parametrize("damage", [lambda c: b"", lambda c: c[:-1], lambda c: c[: len(c) // 2]])
def test_a_file_that_is_no_parquet_stops_the_build(tmp_path, damage):
    source = Copy(tmp_path / "in").write()
    path = tmp_path / "in" / FULL / PART
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=f"{path}: cannot be read as parquet"):
        build_from(source, tmp_path / "out")


def test_a_folder_without_modes_or_rows_is_named(tmp_path):
    with pytest.raises(UserError, match="has no folder of a learning mode; they are initial_"):
        build_from(f"parquet:{tmp_path}", tmp_path / "out")
    (tmp_path / FULL).mkdir()
    with pytest.raises(UserError, match="the folders of the learning modes have no rows"):
        build_from(f"parquet:{tmp_path}", tmp_path / "out")
