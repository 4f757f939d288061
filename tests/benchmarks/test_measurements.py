"""Values of prompts by a model: nothing is measured twice, and nothing of other images is kept."""

import contextlib
import json

import pytest

from irg_jax.benchmarks.measurements import Model, Owed, made_by, measure
from irg_jax.core.errors import UserError


def owed(n=5, image=b"image"):
    return [Owed(str(key), f"prompt {key}", (lambda key=key: image + bytes([key]),)) for key in range(n)]


class Lengths:
    """The length of each prompt; fails at a batch, if asked."""

    def __init__(self, fails_at=None, protocol="lengths", value=lambda one: float(len(one.prompt))):
        self.fails_at, self.protocol, self.value = fails_at, protocol, value
        self.batches, self.opened, self.closed = [], 0, 0

    @contextlib.contextmanager
    def load(self):
        self.opened += 1
        try:
            yield Model(self.protocol, self.run)
        finally:
            self.closed += 1

    def run(self, batch):
        if len(self.batches) == self.fails_at:
            raise KeyboardInterrupt
        self.batches.append(len(batch))
        return [self.value(one) for one in batch]


def test_every_prompt_is_measured_once_also_after_an_interruption(tmp_path):
    path, whole, first, second, third = tmp_path / "a.jsonl", Lengths(), Lengths(fails_at=2), Lengths(), Lengths()
    values, count = measure(owed(), tmp_path / "whole.jsonl", whole.load, batch_size=2)
    assert (values, count) == ({str(key): 8.0 for key in range(5)}, 5) and whole.batches == [2, 2, 1]
    with pytest.raises(KeyboardInterrupt):
        measure(owed(), path, first.load, batch_size=2)
    assert first.closed == 1
    path.write_bytes(path.read_bytes()[:-9])  # the machine was lost in the middle of a line
    assert measure(owed(), path, second.load, batch_size=2) == (values, 2)
    assert path.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert measure(owed(), path, third.load, batch_size=2) == (values, 0) and third.opened == 0


def test_a_file_that_was_lost_in_its_first_line(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"format"')
    assert measure(owed(), path, Lengths().load, batch_size=9)[1] == 5
    assert json.loads(path.read_text().splitlines()[0]) == {"format": "irg_jax measurements 1", "protocol": "lengths"}


def test_a_file_of_another_model_is_refused(tmp_path):
    measure(owed(3), tmp_path / "a.jsonl", Lengths().load, batch_size=9)
    with pytest.raises(UserError, match="was written by 'lengths'; give another file for 'widths'"):
        measure(owed(5), tmp_path / "a.jsonl", Lengths(protocol="widths").load, batch_size=9)


@pytest.mark.parametrize(
    "others", [owed(image=b"another"), [one._replace(prompt="another") for one in owed()]], ids=["image", "prompt"]
)
def test_a_file_of_other_images_or_prompts_is_refused(tmp_path, others):
    measure(owed(), tmp_path / "a.jsonl", Lengths().load, batch_size=9)
    with pytest.raises(UserError, match="0 was measured with another image or prompt; give another file"):
        measure(others, tmp_path / "a.jsonl", Lengths().load, batch_size=9)


@pytest.mark.parametrize("value", [float("nan"), [0.5, float("inf")], None, "0.5"])
def test_what_is_no_number_is_not_written(tmp_path, value):
    with pytest.raises(UserError, match="0: the model gives .*which is no number"):
        measure(owed(), tmp_path / "a.jsonl", Lengths(value=lambda one: value).load, batch_size=9)
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == 1


HEAD = '{"format": "irg_jax measurements 1", "protocol": "lengths"}'
LINE = '{"key": "0", "digest": "d", "value": 0.5}'


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([LINE], "a.jsonl: does not begin with a line of 'irg_jax measurements 1'"),
        ([HEAD, "{"], "a.jsonl:2"),
        ([HEAD, '{"key": "0", "value": 0.5}'], "a.jsonl:2: has no key, digest or value; delete the line"),
        ([HEAD, LINE.replace("0.5", '"x"')], "a.jsonl:2: value is no number; delete the line"),
        ([HEAD, LINE, LINE], "a.jsonl:3: 0 is there already; delete one of the lines"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, lines, reason):
    (tmp_path / "a.jsonl").write_text("".join(f"{line}\n" for line in lines))
    with pytest.raises(UserError, match=reason):
        measure(owed(), tmp_path / "a.jsonl", Lengths().load, batch_size=9)


@pytest.mark.parametrize(
    ("lines", "by"),
    [
        ([HEAD, LINE], " by lengths"),
        ([HEAD, LINE.replace("0.5", "0.6")], ""),  # the table was replaced
        ([HEAD], ""),
        (["something else"], ""),
        (None, ""),
    ],
)
def test_a_table_says_who_made_it_if_its_values_are_those_of_the_lines_beside_it(tmp_path, lines, by):
    (tmp_path / "a.json").write_text('{"0": 0.5, "1": []}')
    if lines is not None:
        (tmp_path / "a.jsonl").write_text("".join(f"{line}\n" for line in lines))
    assert made_by(tmp_path / "a.json") == by
