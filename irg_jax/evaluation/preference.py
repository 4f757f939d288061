"""Which of two turns or runs is better: judges see each pair of images in both orders."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from irg_jax.benchmarks import preference_question
from irg_jax.benchmarks.benchmark import PromptSet, Row
from irg_jax.benchmarks.judge import Question
from irg_jax.benchmarks.preference import Order, Verdict, exact_verdicts
from irg_jax.core.errors import UserError
from irg_jax.data import images
from irg_jax.endpoints.journal import Answer
from irg_jax.evaluation.judging import Task
from irg_jax.evaluation.run import BenchmarkRun, Sample, read_run, samples
from irg_jax.worlds.shapes.prompts import parse_prompt
from irg_jax.worlds.shapes.score import score_image

EXACT = "shapes"  # the name of the judge that is the shapes world's own scorer
_ORDERS: tuple[Order, Order] = ("ab", "ba")


class Turn(NamedTuple):
    """One turn of one run, named by its layout folder ``RUN/turnN``."""

    out: Path
    run: BenchmarkRun
    number: int

    def image(self, sample: Sample) -> bytes:
        """The PNG of a sample. Raises UserError where it is missing."""
        path = sample.image(self.out, self.number)
        try:
            return path.read_bytes()
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}); generate it first") from error


def open_turn(folder: Path, flag: str) -> Turn:
    """A turn of a run. Raises UserError where ``folder`` is not ``RUN/turnN`` of one."""
    number = folder.name.removeprefix("turn")
    run = read_run(folder.parent)
    if not number.isdecimal() or not 1 <= int(number) <= run.turns:
        raise UserError(f"{flag}: {folder} is not a turn of {folder.parent}; give RUN/turn1 or RUN/turn2")
    return Turn(folder.parent, run, int(number))


def check_pair(a: Turn, b: Turn, prompts: PromptSet) -> None:
    """Raises a UserError unless both have images for these prompts, and are not the same."""
    if (a.out.resolve(), a.number) == (b.out.resolve(), b.number):
        raise UserError(f"--a, --b: {a.out} turn {a.number} is given twice; give two turns or two runs")
    for turn in (a, b):
        if turn.run.prompts_digest != prompts.digest:
            raise UserError(
                f"{turn.out}: was generated from other prompts than those of --a ({turn.run.benchmark} "
                f"{turn.run.version}); compare runs of the same prompts"
            )


def judge_tasks(prompts: PromptSet, a: Turn, b: Turn, judge: str) -> list[Task]:
    """Two tasks for each pair of images, one in each order; their results are ``Verdict``s."""
    tasks = []
    for sample in samples(prompts):
        for order in _ORDERS:
            shown = (a, b) if order == "ab" else (b, a)
            question = Question(
                key=sample.item.key,
                sample=sample.number,
                name=f"preference, {order}",
                system="",
                text=preference_question.question(sample.item.prompt),
                max_tokens=None,
            )
            tasks.append(
                Task(
                    where=f"{sample.item.key} sample {sample.number}",
                    images=tuple(functools.partial(turn.image, sample) for turn in shown),
                    questions=(question,),
                    read=_read,
                    finish=functools.partial(_verdict, sample.item.key, sample.number, judge, order),
                )
            )
    return tasks


def shapes_verdicts(prompts: PromptSet, a: Turn, b: Turn) -> list[Verdict]:
    """What the exact scorer of the shapes world prefers: what is right, then what is more detailed.

    Raises:
      UserError: a prompt is not one of the world's.
    """
    return exact_verdicts(_shapes_rows(prompts, a), _shapes_rows(prompts, b), value="score", judge=EXACT)


def _shapes_rows(prompts: PromptSet, turn: Turn) -> list[Row]:
    rows = []
    for sample in samples(prompts):
        scene = parse_prompt(sample.item.prompt)
        if scene is None:
            raise UserError(
                f"{sample.item.key}: {sample.item.prompt!r} is not a prompt of the shapes world; leave the judge "
                f"{EXACT} out"
            )
        pixels = np.asarray(images.decode(turn.image(sample), f"{turn.out}: {sample.item.key}"))
        score = score_image(pixels, scene)
        value = float(score.correct) + score.detail / 2
        rows.append(Row(sample.item.key, sample.number, sample.item.category, {"score": value}))
    return rows


def _read(question: Question, answer: Answer) -> preference_question.Choice:
    return preference_question.read_answer(answer.text)


def _verdict(key: str, sample: int, judge: str, order: Order, choices: Sequence[preference_question.Choice]) -> Verdict:
    return Verdict(key, sample, judge, order, choices[0])
