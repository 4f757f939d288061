"""The curate command on the shapes world, with an oracle over HTTP: what it writes, pays, and does after it was killed."""

import collections
import json
import os
import signal
import subprocess
import time

import pytest

from tests import commands
from tests.curation import oracle
from tests.curation.server import KEY, Server, error


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("TEACHER_KEY", KEY)


def test_prompts_in_the_worlds_own_thinking_and_pictures_out(capfd, tmp_path):
    records = oracle.trajectories(12)
    prompts = oracle.write_records(tmp_path / "prompts.jsonl", records, "image1")
    out = tmp_path / "out"
    with Server(oracle.Oracle(records)) as server:
        status, lines = oracle.outcome(capfd, *oracle.flags(server, prompts, out))
    assert status == 0, lines
    made = oracle.read_lines(out / "records.jsonl")
    assert [line["key"] for line in made] == [record.key for record in records], "in the order of the input"
    for line, record in zip(made, records, strict=True):
        assert (line["prompt"], line["thinking1"], line["thinking2"]) == (record.prompt, record.thinking1, record.thinking2)
        assert (out / line["image1"]).read_bytes() == record.image1
        assert (out / line["image2"]).read_bytes() == record.image2
        assert (line["source"], line["licence"]) == ("shapes", "Apache-2.0")
        assert line["teachers"]["image2"] == "gpt-image-1" and line["templates"]["thinking2"].startswith("thinking2:")
    assert len(server.questions) == 36 and server.keys == {KEY}
    assert server.most_at_once <= 6
    assert oracle.read_lines(out / "rejected.jsonl") == []
    page = (out / "index.html").read_text("utf-8")
    assert made[0]["image1"] in page and "12 records" in page
    assert KEY.encode() not in oracle.everything_in(out) and not any(KEY in line for line in lines)
    # 24 texts of (100·10 + 50·20)/1e6, 12 pictures of the same and 0.01
    assert any("of 100.0000 spent" in line or "0.1920 of" in line for line in lines)
