"""The curate command on records of the shapes world, with the world's oracle as its teachers."""

import contextlib
import json
import pathlib
from collections.abc import Callable

from irg_jax.data.trajectory import Trajectory
from irg_jax.worlds.shapes.oracle.faults import Fault
from irg_jax.worlds.shapes.oracle.protocol import Question, Text
from irg_jax.worlds.shapes.oracle.server import Server
from irg_jax.worlds.shapes.world import make_trajectory
from tests import commands

KEY = "sk-test-0123456789abcdef"


def trajectories(count: int) -> list[Trajectory]:
    """Records of the shapes world, no two with the same prompt."""
    found: dict[str, Trajectory] = {}
    index = 0
    while len(found) < count:
        made = make_trajectory(7, "train", index)
        found.setdefault(made.prompt, made)
        index += 1
    return list(found.values())


def serve(
    answer: Callable[[Question], Text | str | bytes], fault: Callable[[int, Question], Fault | None] = lambda *_: None
) -> Server:
    """A server whose answers count for 100 tokens read and 50 written each, whatever they are."""
    return Server(answer, fault, usage=lambda *_: (100, 50))


def flags(server: Server, prompts: pathlib.Path, out: pathlib.Path, **changes: object) -> list[str]:
    """The flags of a command that asks the server; dots in the keys of ``changes`` are two underscores."""
    values = {
        "attempts": 2,
        "budget": 100.0,
        "checks.min_side": 32,
        "checks.thinking1.min_chars": 10,
        "checks.thinking2.min_chars": 10,
        "steps": ("thinking1", "image2", "thinking2"),
        "requests.timeout_s": 5.0,
        "requests.give_up_after_s": 20.0,
    }
    for step in ("thinking1", "image2", "thinking2"):
        values |= {f"{step}.base_url": server.url, f"{step}.key_env": "TEACHER_KEY", f"{step}.concurrency": 2}
        values |= {f"{step}.price.input_tokens": 10.0, f"{step}.price.output_tokens": 20.0, f"{step}.image_tokens": 50}
    values["image2.price.picture"] = 0.01
    values |= {name.replace("__", "."): value for name, value in changes.items()}
    given = [f"--prompts={prompts}", f"--out={out}", f"--config={commands.ROOT / 'configs' / 'curate.py'}"]
    return [*given, *(f"--config.{name}={value}" for name, value in values.items())]


def write_records(path: pathlib.Path, records: list[Trajectory], *given: str) -> pathlib.Path:
    """Writes an input with the prompts, and with what is to be given already."""
    lines = []
    for number, record in enumerate(records):
        line = {"key": record.key, "prompt": record.prompt, "source": "shapes", "licence": "Apache-2.0"}
        for step in given:
            made = getattr(record, step)
            if isinstance(made, bytes):
                (path.parent / f"{number}_{step}.png").write_bytes(made)
                made = f"{number}_{step}.png"
            line[step] = made
        lines.append(json.dumps(line, ensure_ascii=False))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def outcome(capfd, *arguments: str) -> tuple[int, list[str]]:
    """Status and the lines on stderr of the command, run in this process."""
    done = commands.run_here(capfd, "curate", *arguments)
    return done.returncode, [line for line in done.stderr.splitlines() if line]


def read_lines(path: pathlib.Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def everything_in(folder: pathlib.Path) -> bytes:
    """All bytes of all files."""
    with contextlib.suppress(FileNotFoundError):
        return b"\n".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())
    return b""
