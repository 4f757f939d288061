"""The curate command on the shapes world, with an oracle over HTTP: what it writes, pays, and asks again."""

import shutil
import signal
import subprocess
import time

import pytest

from irg_jax.curation import template
from irg_jax.worlds.shapes.oracle.answers import Oracle
from irg_jax.worlds.shapes.oracle.faults import silence
from tests import commands
from tests.curation import curating
from tests.curation.curating import KEY


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("TEACHER_KEY", KEY)


@pytest.fixture(scope="module")
def records():
    return curating.trajectories(12)


@pytest.fixture
def prompts(tmp_path, records):
    return curating.write_records(tmp_path / "prompts.jsonl", records, "image1")


def test_prompts_in_the_worlds_own_thinking_and_pictures_out(capfd, tmp_path, records, prompts):
    out = tmp_path / "out"
    with curating.serve(Oracle(records)) as server:
        status, lines = curating.outcome(capfd, *curating.flags(server, prompts, out))
    assert status == 0, lines
    made = curating.read_lines(out / "records.jsonl")
    assert [line["key"] for line in made] == [record.key for record in records], "in the order of the input"
    for line, record in zip(made, records, strict=True):
        assert [line[name] for name in ("prompt", "thinking1", "thinking2")] == [
            record.prompt,
            record.thinking1,
            record.thinking2,
        ]
        assert (out / line["image1"]).read_bytes() == record.image1
        assert (out / line["image2"]).read_bytes() == record.image2
        assert (line["source"], line["licence"]) == ("shapes", "Apache-2.0")
        assert line["teachers"]["image2"] == "gpt-image-1"
        digest = template.load_templates(None)["thinking2"].digest
        assert line["templates"]["thinking2"] == f"thinking2:{digest[:16]}"
    assert len(server.questions) == 36 and server.most_at_once <= 6
    assert curating.read_lines(out / "rejected.jsonl") == []
    page = (out / "index.html").read_text("utf-8")
    assert made[0]["image1"] in page and "12 records" in page
    # 36 answers of (100 · 10 + 50 · 20) / 1e6, 12 of them pictures for 0.01 each.
    assert "0.1920 of 100.0000 spent" in lines[-1]


def test_an_edit_sees_image_1_and_a_given_image_2_is_shown_for_thinking_1(capfd, tmp_path, records):
    prompts = curating.write_records(tmp_path / "prompts.jsonl", records[:3], "image1")
    with curating.serve(Oracle(records)) as server:
        status, lines = curating.outcome(
            capfd, *curating.flags(server, prompts, tmp_path / "out", image2__method="edit")
        )
    assert status == 0, lines
    assert [line["thinking2"] for line in curating.read_lines(tmp_path / "out/records.jsonl")] == [
        record.thinking2 for record in records[:3]
    ]
    edited = [question.pictures for question in server.questions if question.kind == "edit"]
    assert sorted(edited) == sorted((record.image1,) for record in records[:3])

    prompts = curating.write_records(tmp_path / "pairs.jsonl", records[:3], "image2")
    with curating.serve(Oracle(records)) as server:
        flags = curating.flags(server, prompts, tmp_path / "pairs", steps=("thinking1",))
        status, lines = curating.outcome(capfd, *flags)
    assert status == 0, lines
    assert sorted(question.pictures for question in server.questions) == sorted((r.image2,) for r in records[:3])
    for line in curating.read_lines(tmp_path / "pairs/records.jsonl"):
        assert line["templates"]["thinking1"].startswith("thinking1_from_image:")
        assert "image1" not in line and "thinking2" not in line, "missing steps leave their key out"


def test_a_records_file_is_an_input_for_the_steps_that_it_lacks(capfd, tmp_path, records):
    (tmp_path / "prompts.txt").write_text("\n\n".join(record.prompt for record in records[:3]) + "\n")
    with curating.serve(Oracle(records)) as server:
        first = curating.flags(server, tmp_path / "prompts.txt", tmp_path / "first", steps=("thinking1",))
        assert curating.outcome(capfd, *first)[0] == 0
        second = curating.flags(server, tmp_path / "first/records.jsonl", tmp_path / "second", steps=("image2",))
        assert curating.outcome(capfd, *second)[0] == 0
    assert [question.kind for question in server.questions] == ["chat"] * 3 + ["generate"] * 3
    for before, line in zip(
        curating.read_lines(tmp_path / "first/records.jsonl"),
        curating.read_lines(tmp_path / "second/records.jsonl"),
        strict=True,
    ):
        assert line["key"] == before["key"] and set(line["teachers"]) == {"thinking1", "image2"}


def test_the_same_command_again_asks_nothing_and_writes_the_same(capfd, tmp_path, records, prompts):
    out = tmp_path / "out"
    with curating.serve(Oracle(records)) as server:
        flags = curating.flags(server, prompts, out)
        curating.outcome(capfd, *flags)
        before = {path.name: path.read_bytes() for path in out.glob("*.jsonl")}
        status, _ = curating.outcome(capfd, *flags)
        assert status == 0 and len(server.questions) == 36
        assert {path.name: path.read_bytes() for path in out.glob("*.jsonl")} == before

        # The server may move; a template that changes is asked again, with what depends on its answers.
        shutil.copytree(template.SHIPPED, tmp_path / "templates")
        (tmp_path / "templates/thinking2.txt").open("a").write("\nBe brief.\n")
        with curating.serve(Oracle(records)) as other:
            flags = curating.flags(other, prompts, out)
            status, _ = curating.outcome(capfd, *flags, f"--templates={tmp_path / 'templates'}")
            assert status == 0 and len(other.questions) == 12
            assert all("Be brief." in question.text for question in other.questions)


def test_the_same_line_twice_is_one_record(capfd, tmp_path, records):
    (tmp_path / "prompts.txt").write_text(f"{records[0].prompt}\n{records[1].prompt}\n{records[0].prompt}\n")
    with curating.serve(Oracle(records)) as server:
        flags = curating.flags(server, tmp_path / "prompts.txt", tmp_path / "out", steps=("thinking1",))
        assert curating.outcome(capfd, *flags)[0] == 0
    assert len(curating.read_lines(tmp_path / "out/records.jsonl")) == 2 == len(server.questions)
    (rejected,) = curating.read_lines(tmp_path / "out/rejected.jsonl")
    assert (rejected["rule"], rejected["where"]) == ("repeated", f"{tmp_path}/prompts.txt:3")


def test_the_budget_stops_before_it_is_exceeded_and_more_goes_on(capfd, tmp_path, records, prompts):
    out = tmp_path / "out"
    with curating.serve(Oracle(records)) as server:
        spent = []
        for budget in (0.0, 0.05, 0.1, 1.0):
            status, lines = curating.outcome(capfd, *curating.flags(server, prompts, out, budget=budget))
            chats = sum(question.kind == "chat" for question in server.questions)
            spent.append(0.002 * len(server.questions) + 0.01 * (len(server.questions) - chats))
            assert spent[-1] <= budget
            assert status == (0 if budget == 1.0 else 2)
            if status:
                assert (
                    lines[-1].startswith("error: config.budget: ") and "start again with a higher budget" in lines[-1]
                )
                finished = curating.read_lines(out / "records.jsonl")
                assert all(set(line) > {"thinking1", "image1", "thinking2", "image2"} for line in finished)
        assert spent[0] == 0.0 and spent[1] < spent[2] < spent[3]
        assert set(server.answered.values()) == {1} and len(server.answered) == 36, "nothing is paid for twice"
    assert len(curating.read_lines(out / "records.jsonl")) == 12


def test_the_estimate_comes_first_and_costs_nothing(capfd, tmp_path, records, prompts):
    with curating.serve(Oracle(records)) as server:
        status, lines = curating.outcome(capfd, *curating.flags(server, prompts, tmp_path / "out"), "--estimate_only")
        assert status == 0 and not server.questions and not (tmp_path / "out").exists()
        assert [line.partition(":")[0] for line in lines] == ["thinking1", "image2", "thinking2", "estimate"]
        curating.outcome(capfd, *curating.flags(server, prompts, tmp_path / "out"))
        _, lines = curating.outcome(capfd, *curating.flags(server, prompts, tmp_path / "out"), "--estimate_only")
        assert "0 answers" in lines[0] and "estimate: 0.00" in lines[-1] and "spent so far 0.19" in lines[-1]


def _start(flags):
    environment = commands.environment() | {"JAX_PLATFORMS": "cpu"}
    return subprocess.Popen(
        commands.command_line("curate", *flags), cwd=commands.ROOT, env=environment, text=True, stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip


def _wait_for(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_killed_again_and_again_it_pays_for_nothing_twice(capfd, tmp_path, records, prompts):
    """Each time some answers are in the journal and some requests are under way without one."""
    out, journal = tmp_path / "out", tmp_path / "out" / "journal.jsonl"
    held = 1e6
    with curating.serve(Oracle(records)) as server:
        server.fault = lambda number, question: silence(1e6) if sum(server.answered.values()) >= held else None
        flags = curating.flags(server, prompts, out, requests__timeout_s=300.0)
        for held in (3, 11, 25):
            process = _start(flags)
            try:
                # The requests under way when the limit was reached are answered too.
                _wait_for(lambda limit=held: sum(server.answered.values()) >= limit and server.is_held())
                _wait_for(lambda: journal.read_text().count('"answered"') == sum(server.answered.values()))
            finally:
                process.send_signal(signal.SIGKILL)
                process.communicate()
        held = 1e6
        with journal.open("a") as file:
            file.write('{"answered": 7, "key": "half a li')
        status, lines = curating.outcome(capfd, *flags)
        assert status == 0, lines
        assert set(server.answered.values()) == {1} and len(server.answered) == 36
        assert any("dropped half a line" in line for line in lines)
    assert [line["thinking2"] for line in curating.read_lines(out / "records.jsonl")] == [r.thinking2 for r in records]
    # Requests that were under way may have been charged, so they count.
    assert "may have cost" in (out / "index.html").read_text("utf-8")
    assert float(lines[-1].split(" of ")[1].split("; ")[1]) > 0.192


def test_ctrl_c_waits_for_what_is_paid_and_writes_what_is_done(tmp_path, records, prompts, python_handles_ctrl_c):
    out = tmp_path / "out"
    with curating.serve(Oracle(records), lambda *_: silence(0.2)) as server:
        process = _start(curating.flags(server, prompts, out))
        _wait_for(lambda: sum(server.answered.values()) >= 8)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 130 and "interrupted" in said and "Traceback" not in said, said
        journal = (out / "journal.jsonl").read_text()
        assert journal.count('"answered"') == sum(server.answered.values()) == len(server.questions)
        assert (out / "records.jsonl").exists()


def test_one_process_writes_to_a_folder(capfd, tmp_path, records, prompts):
    with curating.serve(Oracle(records), lambda *_: silence(30.0)) as server:
        flags = curating.flags(server, prompts, tmp_path / "out")
        process = _start(flags)
        try:
            _wait_for(lambda: server.questions)
            status, lines = curating.outcome(capfd, *flags)
        finally:
            process.kill()
            process.communicate()
    assert status == 2 and "another process is writing to" in lines[-1]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("not json", "prompts.jsonl:2: not JSON"),
        ("[1]", "prompts.jsonl:2: '[1]' is not a JSON object"),
        ('{"prompt": " "}', "prompts.jsonl:2: has no prompt"),
        ('{"prompt": 3}', "prompts.jsonl:2: prompt is 3, not a text"),
        ('{"prompt": "\\ud800"}', "prompts.jsonl:2: prompt has half of a surrogate pair"),
        ('{"prompt": "x", "thinking": "y"}', "unknown key 'thinking'; did you mean thinking2 or thinking1?"),
        ('{"prompt": "x", "image1": "none.png"}', "prompts.jsonl:2: image1: there is no file"),
        ('{"prompt": "x", "key": "a"}', "prompts.jsonl:2: the key 'a' is that of"),
        (
            '{"prompt": "x"}',
            "prompts.jsonl:2: thinking2 needs image1: give it in the record, or add it to config.steps",
        ),
        ('{"prompt": "x", "teachers": 3}', "prompts.jsonl:2: teachers is 3, not an object"),
    ],
)
def test_a_bad_input_is_one_line_and_nothing_is_asked(capfd, tmp_path, records, line, message):
    first = curating.write_records(tmp_path / "prompts.jsonl", records[:1], "image1").read_text()
    (tmp_path / "prompts.jsonl").write_text(first.replace(records[0].key, "a") + line + "\n")
    with curating.serve(Oracle(records)) as server:
        status, lines = curating.outcome(capfd, *curating.flags(server, tmp_path / "prompts.jsonl", tmp_path / "out"))
        assert not server.questions
    assert status == 2 and len(lines) == 1 and lines[0].startswith("error: ") and message in lines[0], lines
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"thinking1__key_env": "NOBODY_SET_THIS"}, "the environment has no NOBODY_SET_THIS"),
        ({"thinking1__key_env": KEY}, "config.thinking1.key_env: is not the NAME of an environment variable"),
        ({"thinking1__base_url": "localhost:8000"}, "config.thinking1.base_url: must be http(s)://"),
        (
            {"image2__price__picture": None},
            "config.image2.price.picture: is not given; write what the endpoint charges",
        ),
        ({"image2__options": '{"n": 2}'}, "config.image2.options: n is set by the command"),
        ({"thinking1__options": "warm"}, "config.thinking1.options: 'warm' is not a JSON object"),
        ({"thinking1__concurrency": 0}, "config.thinking1.concurrency: 0 must be at least 1"),
        ({"image2__price__picture": -1.0}, "config.image2.price.picture: -1.0 must be at least 0"),
        ({"image2__method": "draw"}, "config.image2.method: 'draw' is not one of generate, edit"),
        ({"steps": ("thinking3",)}, "config.steps: 'thinking3' is not one of"),
        ({"steps": ("image1",), "image1__checkpoint": ""}, "config.image1.checkpoint: is empty"),
        ({"steps": ("thinking1", "image1"), "image1__checkpoint": "none"}, "none: no checkpoint here"),
        ({"checks__thinking1__max_chars": 5}, "config.checks.thinking1.max_chars: 5 must be at least 10"),
        ({"budget": -1.0}, "config.budget: -1.0 must be at least 0"),
        ({"attempts": 0}, "config.attempts: 0 must be at least 1"),
    ],
)
def test_a_bad_config_is_one_line_and_nothing_is_asked(capfd, tmp_path, records, prompts, changes, message):
    with curating.serve(Oracle(records)) as server:
        status, lines = curating.outcome(capfd, *curating.flags(server, prompts, tmp_path / "out", **changes))
        assert not server.questions
    assert status == 2 and len(lines) == 1 and lines[0].startswith("error: ") and message in lines[0], lines
    assert KEY not in lines[0] and not (tmp_path / "out").exists()


def test_without_the_client_library_one_line_says_what_to_install(capfd, tmp_path, records, prompts, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "openai", None)
    with curating.serve(Oracle(records)) as server:
        status, lines = curating.outcome(capfd, *curating.flags(server, prompts, tmp_path / "out"))
    assert status == 2 and lines == [
        "error: endpoints are asked with the package openai; install the extra endpoints: "
        "pip install 'irg-jax[endpoints]'"
    ]
