"""The score command on small benchmarks, with the oracle of the shapes world as its judge."""

import contextlib
import copy
import dataclasses
import functools
import json
import logging
import pathlib
import shutil
import ssl
from collections.abc import Callable
from typing import NamedTuple
from unittest import mock

import pytest

from irg_jax import evaluate
from irg_jax.benchmarks import statistics
from irg_jax.core.small_files import write_json
from irg_jax.evaluation.benchmarks import BENCHMARKS
from irg_jax.evaluation.run import FILE as RUN_FILE
from irg_jax.evaluation.run import BenchmarkRun
from irg_jax.worlds.shapes.oracle.answers import Oracle
from irg_jax.worlds.shapes.oracle.faults import Fault
from irg_jax.worlds.shapes.oracle.protocol import Question, Text
from irg_jax.worlds.shapes.oracle.server import Server
from tests import commands
from tests.evaluation.small_benchmarks import MODEL, WRITERS, answer

KEY = "sk-test-0123456789abcdef"


class Outcome(NamedTuple):
    """How a command ended: its status, the lines on stderr, and those on stdout."""

    status: int
    lines: list[str]
    printed: list[str]

    @property
    def error(self) -> str:
        """The only error."""
        errors = [line for line in self.lines if line.startswith("error: ")]
        assert len(errors) == 1 and not any("Traceback" in line for line in self.lines), self.lines
        return errors[0]


def run(capfd, *arguments: object) -> Outcome:
    """Runs ``irg_jax.evaluate`` in this process, because starting one takes seconds."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    quick = functools.partial(statistics.intervals, draws=10)
    try:
        # The certificates of the client take longer to read than all else, and the oracle speaks plain HTTP.
        with (
            pytest.raises(SystemExit) as end,
            mock.patch.object(statistics, "intervals", quick),
            mock.patch("ssl.create_default_context", lambda *_, **__: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)),
        ):
            evaluate.main(["evaluate", *map(str, arguments)])
    finally:
        root.handlers = handlers
        root.setLevel(level)
    said = capfd.readouterr()
    return Outcome(
        end.value.code or 0, *([line for line in text.splitlines() if line] for text in (said.err, said.out))
    )


class Case:
    """The images of a small benchmark in its official layout, all of them right."""

    def __init__(self, root: pathlib.Path, name: str):
        self.name, self.images, self.out = name, root / "images", root / "out"
        data = root / "data"
        data.mkdir(parents=True)
        self.path = WRITERS[name](data)
        self.prompts = BENCHMARKS[name].read_prompts(self.path)
        BENCHMARKS[name].write_layout(self.prompts, lambda item, _: answer(item.prompt), self.images, model=MODEL)
        # GenEval has no judge.
        self.always = [self.score_file(root)[0]] if name == "geneval" else []

    def copy(self, root: pathlib.Path) -> "Case":
        """The same with images and an output folder of its own."""
        own = copy.copy(self)
        own.images, own.out = root / "images", root / "out"
        shutil.copytree(self.images, own.images)
        return own

    def as_run(self, turns: int) -> pathlib.Path:
        """A folder as ``evaluate generate`` leaves it, whose turns have the images."""
        out = self.images.parent / "run"
        for turn in range(1, turns + 1):
            shutil.copytree(self.images, out / f"turn{turn}")
        described = BenchmarkRun(
            self.name, self.prompts.version, str(self.path), self.prompts.digest, self.prompts.images, MODEL, "ckpt", 7,
            "abc", turns, 0, {},
        )  # fmt: skip
        write_json(out / RUN_FILE, dataclasses.asdict(described))
        return out

    def score_file(self, root: pathlib.Path, *, without_first: bool = False) -> tuple[str, str]:
        """The flag of a file with a score of each image, and how an error names the first image."""
        items = self.prompts.items
        first = items[0].key
        if self.name == "geneval":
            path = root / "detections.jsonl"
            lines = [{"format": "geneval detections 1", "detector": "none"}]
            lines += [
                {"key": item.key, "sample": sample, "prompt": item.prompt, "objects": []}
                for item in items
                for sample in range(item.samples)
                if not (without_first and (item.key, sample) == (first, 0))
            ]
            path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
            return f"--file=detections={path}", f"{path}: {first} sample 0"
        if self.name == "genai_bench":
            path = root / "scores.json"
            path.write_text(json.dumps({item.key: 0.5 for item in items[without_first:]}), "utf-8")
            return f"--file=vqascores={path}", f"{path}: {first}"
        path = root / "results"
        for item in items[without_first:]:
            file = path / MODEL / f"{item.key}.json"
            file.parent.mkdir(parents=True, exist_ok=True)
            answers = item.entry["yn_answer_list"]
            values = {"questions": item.entry["yn_question_list"], "gt_answers": answers, "model_pred": answers}
            file.write_text(json.dumps(values), "utf-8")
        return f"--file=official={path}", f"{path}: {first}"

    def flags(self, server: Server, *more: object, **config: object) -> list[str]:
        """Of the score command; dots in the keys of ``config`` are two underscores."""
        values = {
            "attempts": 2,
            "requests.timeout_s": 5.0,
            "requests.give_up_after_s": 20.0,
            "judges.qwen.base_url": server.url,
            "judges.qwen.model": "oracle",
            "judges.qwen.concurrency": 2,
        } | {key.replace("__", "."): value for key, value in config.items()}
        given = [
            "score", f"--images={self.images}", f"--benchmark={self.name}", f"--prompts={self.path}",
            f"--model={MODEL}", f"--out={self.out}", f"--config={commands.ROOT / 'configs' / 'judges.py'}",
        ]  # fmt: skip
        return [*given, *self.always, *(f"--config.{name}={value}" for name, value in values.items()), *map(str, more)]

    def scores(self) -> dict:
        """What was written."""
        return json.loads((self.out / "turn1" / "scores.json").read_text("utf-8"))

    @property
    def is_scored(self) -> bool:
        """Whether there is a file with a score."""
        return (self.out / "turn1" / "scores.json").exists()


def serve(
    fault: Callable[[int, Question], Fault | None] = lambda *_: None,
    say: Callable[[Question], Text | str | bytes] | None = None,
    key: str = "",
) -> Server:
    """The oracle, with planted faults."""
    return Server(say or Oracle(), fault, key=key)


def everything_in(folder: pathlib.Path) -> bytes:
    """All bytes of all files, and their names."""
    with contextlib.suppress(FileNotFoundError):
        return b"\n".join(
            str(path).encode() + (path.read_bytes() if path.is_file() else b"") for path in sorted(folder.rglob("*"))
        )
    return b""
