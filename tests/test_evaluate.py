"""The five benchmarks on a tiny model, from prompts to the report, with interruptions and a judge over real HTTP."""

import functools
import json
import os
import signal
import subprocess
import time

import numpy as np
import pytest

from irg_jax.benchmarks.geneval.decision import Object
from irg_jax.benchmarks.geneval.detections import Detections, write_detections
from irg_jax.evaluation.benchmarks import BENCHMARKS
from irg_jax.evaluation.commands import generate as generate_command
from irg_jax.sampling import engine, output
from irg_jax.worlds.shapes.oracle.answers import Oracle
from irg_jax.worlds.shapes.oracle.faults import Fault, error, silence
from irg_jax.worlds.shapes.oracle.server import Server
from tests import commands
from tests.evaluation.small_benchmarks import WRITERS

KEY = "sk-judge-0123456789abcdef"
IMAGES = {"geneval": 12, "wise": 6, "tiif": 8, "genai_bench": 4, "oneig": 24}  # of one turn
# Calls to the judge for both turns: GenAI-Bench has a prompt without a skill; of OneIG-Bench four prompts have two
# questions for each of four images, and one is read.
CALLS = {"wise": 12, "tiif": 16, "genai_bench": 6, "oneig": 2 * 4 * (4 * 2 + 1)}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    config = commands.ROOT / "configs" / "template.py"
    flags = commands.small(sampling__max_thinking=(12, 12))
    done = commands.run("train", f"--config={config}", f"--workdir={folder}", *flags)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def load_once():
    """The same sampler for all commands: each one would compile its programs again."""
    return functools.cache(engine.load_sampler)


@pytest.fixture(autouse=True)
def environment(monkeypatch, load_once):
    monkeypatch.setenv("JUDGE_KEY", KEY)
    monkeypatch.setattr(generate_command.engine, "load_sampler", load_once)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("evaluation")


@pytest.fixture(scope="module")
def prompts(folder):
    """The prompt file or folder of each benchmark."""
    paths = {}
    for name, write in WRITERS.items():
        (folder / "prompts" / name).mkdir(parents=True)
        paths[name] = write(folder / "prompts" / name)
    return paths


def generate_flags(trained, folder, prompts, name):
    return [
        f"--benchmark={name}", f"--prompts={prompts[name]}", f"--checkpoint={trained}", f"--out={folder / name}",
        "--batch_size=8",
    ]  # fmt: skip


def judge_flags(server, **changes):
    values = {
        "judges.qwen.base_url": server.url, "judges.qwen.key_env": "JUDGE_KEY", "judges.qwen.concurrency": 2,
        "judges.qwen.price.input_tokens": 10.0, "judges.qwen.price.output_tokens": 20.0, "judges.qwen.image_tokens": 50,
        "budget": 100.0,
    } | {key.replace("__", "."): value for key, value in changes.items()}  # fmt: skip
    return [f"--config.{key}={value}" for key, value in values.items()]


def answers_in(path):
    return path.read_text().count('"answered"') if path.exists() else 0


@pytest.mark.parametrize("name", list(BENCHMARKS))
def test_generating_goes_on_where_it_was_interrupted(capfd, monkeypatch, trained, folder, prompts, name):
    written, flags = [], generate_flags(trained, folder, prompts, name)

    def stop_in_the_fourth(path, *arguments):
        if len(written) == 3:
            path.mkdir(parents=True)
            (path / "turn1.png").write_bytes(b"half of an ima")
            raise KeyboardInterrupt
        written.append(path)
        output_write(path, *arguments)

    output_write = output.write
    with monkeypatch.context() as patched:
        patched.setattr(output, "write", stop_in_the_fourth)
        assert commands.run_here(capfd, "evaluate", "generate", *flags).returncode == 130
    before = {path: (path / "trajectory.json").stat().st_mtime_ns for path in written}
    assert commands.run_here(capfd, "evaluate", "generate", *flags).returncode == 0
    assert {path: (path / "trajectory.json").stat().st_mtime_ns for path in written} == before, "no image twice"
    assert len(list((folder / name / "images").rglob("trajectory.json"))) == IMAGES[name]
    benchmark = BENCHMARKS[name]
    for turn in (1, 2):
        found = benchmark.find_images(
            benchmark.read_prompts(prompts[name]), folder / name / f"turn{turn}", model="irg_jax"
        )
        assert len(found.images) == IMAGES[name] and not found.problems
    done = commands.run_here(capfd, "evaluate", "generate", *flags, "--seed=1")
    assert done.returncode == 2 and "has a run with seed 0, not 1; choose another folder" in done.stderr


def test_an_image_depends_on_its_name_and_not_on_its_batch(capfd, trained, folder, prompts, tmp_path):
    flags = generate_flags(trained, tmp_path, prompts, "wise")[:-1]
    assert commands.run_here(capfd, "evaluate", "generate", *flags, "--batch_size=4").returncode == 0
    for path in (folder / "wise" / "images").rglob("turn2.png"):
        other = tmp_path / path.relative_to(folder)
        assert np.abs(pixels(path) - pixels(other)).max() <= 1


def pixels(path):
    import PIL.Image

    return np.asarray(PIL.Image.open(path)).astype(int)


@pytest.mark.parametrize("name", list(CALLS))
def test_a_judge_is_paid_once_for_each_answer(capfd, folder, name):
    """Some requests fail on the way, and the budget ends twice in the middle."""
    planted = {1: error(429, Retry_After="0"), 3: error(500), 4: Fault("cut")}
    with Server(Oracle(), lambda number, _: planted.get(number), key=KEY, usage=lambda *_: (100, 50)) as server:
        for budget in (0.012, 0.05, 100.0):
            flags = [f"--run={folder / name}", "--allow_partial", *judge_flags(server, budget=budget)]
            done = commands.run_here(capfd, "evaluate", "score", *flags)
            if done.returncode:
                assert "config.budget" in done.stderr and "start again with a higher budget" in done.stderr
        assert done.returncode == 0, done.stderr
        assert sum(server.answered.values()) == CALLS[name] and answers_in(journal(folder, name)) == CALLS[name]
        asked = len(server.questions)
        again = commands.run_here(capfd, "evaluate", "score", *flags)
        assert again.stdout == done.stdout and len(server.questions) == asked, "the journal answers everything"
    for turn in (1, 2):
        result = json.loads((folder / name / "scores" / f"turn{turn}" / "scores.json").read_text())
        assert result["turn"] == turn and not result["complete"] and not result["problems"]
    written = b"".join(path.read_bytes() for path in (folder / name).rglob("*") if path.is_file())
    assert KEY.encode() not in written


def journal(folder, name):
    return folder / name / "scores" / "journal.jsonl"


def test_geneval_is_scored_from_detections(capfd, folder, prompts):
    read = BENCHMARKS["geneval"].read_prompts(prompts["geneval"])
    item = read.items[0]
    seen = {"clock": [Object(box=(0, 0, 10, 10), score=0.9)]}
    for turn, right in ((1, 1), (2, 3)):
        images = {(own.key, s): {} for own in read.items for s in range(4)}
        images |= {(item.key, s): seen for s in range(right)}
        texts = {(own.key, s): own.prompt for own in read.items for s in range(4)}
        write_detections(folder / f"detections{turn}.jsonl", Detections("made up", images, texts))
    given = f"--file=detections={folder}/detections{{turn}}.jsonl"
    done = commands.run_here(capfd, "evaluate", "score", f"--run={folder / 'geneval'}", given, "--allow_partial")
    assert done.returncode == 0, done.stderr
    results = [json.loads((folder / f"geneval/scores/turn{turn}/scores.json").read_text()) for turn in (1, 2)]
    assert [sum(row["values"]["correct"] for row in result["rows"]) for result in results] == [1, 3]
    assert "overall of 3 of 553 prompts" in done.stdout


def test_judges_say_which_turn_is_better(capfd, folder):
    with Server(Oracle(), key=KEY) as server:
        flags = [f"--a={folder}/wise/turn2", f"--b={folder}/wise/turn1", f"--out={folder}/wise/preference"]
        flags += ["--judge=qwen", "--judge=shapes", *judge_flags(server)]
        done = commands.run_here(capfd, "evaluate", "prefer", *flags)
        assert done.returncode == 0, done.stderr
        assert sum(server.answered.values()) == 2 * IMAGES["wise"], "each pair in both orders"
    assert "Krippendorff's alpha" in done.stdout and "qwen" in done.stdout and "shapes" in done.stdout


def test_the_report_has_all_that_was_scored(capfd, folder):
    given = [str(folder / name) for name in BENCHMARKS]
    done = commands.run_here(capfd, "evaluate", "report", *given, f"--out={folder / 'report'}")
    assert done.returncode == 0, done.stderr
    page = (folder / "report" / "benchmarks.html").read_text("utf-8")
    assert all(benchmark.TITLE in page for benchmark in BENCHMARKS.values())
    assert "Which is preferred" in page
    assert json.loads((folder / "report" / "benchmarks.json").read_text("utf-8"))
    assert (folder / "report" / "benchmarks.csv").exists()


def start(*flags):
    environment = commands.environment() | {"JAX_PLATFORMS": "cpu", "JUDGE_KEY": KEY}
    line = commands.command_line("evaluate", *flags)
    return subprocess.Popen(
        line, cwd=commands.ROOT, env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def wait_for(condition, process, seconds=120.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_killed_while_it_samples_and_while_it_asks(capfd, trained, folder, prompts, tmp_path):
    flags = [*generate_flags(trained, tmp_path, prompts, "genai_bench")[:-1], "--batch_size=1"]
    process, images = start("generate", *flags), tmp_path / "genai_bench" / "images"
    wait_for(lambda: len(list(images.rglob("trajectory.json"))) >= 1, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert len(list(images.rglob("trajectory.json"))) < IMAGES["genai_bench"]
    flags = generate_flags(trained, tmp_path, prompts, "genai_bench")
    assert commands.run_here(capfd, "evaluate", "generate", *flags).returncode == 0
    out = tmp_path / "genai_bench"
    with Server(Oracle(), key=KEY) as server:
        server.fault = lambda *_: silence(1e6) if sum(server.answered.values()) >= 2 else None
        process = start("score", f"--run={out}", "--allow_partial", *judge_flags(server))
        wait_for(lambda: sum(server.answered.values()) >= 2 and server.is_held(), process)
        wait_for(lambda: answers_in(out / "scores" / "journal.jsonl") == sum(server.answered.values()), process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        server.fault = lambda *_: None
        done = commands.run_here(capfd, "evaluate", "score", f"--run={out}", "--allow_partial", *judge_flags(server))
        assert done.returncode == 0, done.stderr
        assert sum(server.answered.values()) == CALLS["genai_bench"] and set(server.answered.values()) == {1}
