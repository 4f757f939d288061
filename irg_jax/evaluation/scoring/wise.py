"""WISE's rows, from a judge."""

import functools
from collections.abc import Callable
from typing import Any

from irg_jax.benchmarks.benchmark import FoundImages, Item, PromptSet, Row
from irg_jax.benchmarks.wise.judge import PROTOCOLS
from irg_jax.evaluation.judging import Task
from irg_jax.evaluation.scoring.evidence import Evidence, Sources, found_tasks, judge_rows, places


def score(prompts: PromptSet, found: FoundImages, sources: Sources) -> Evidence:
    """The marks of each image. Raises UserError for a template that is none, and what a judge raises."""
    # Prompts of one's own are judged as WISE_Verified is.
    protocol = PROTOCOLS.get(prompts.version) or PROTOCOLS["verified"]
    template = protocol.template(sources.template)

    def task(item: Item, sample: int, image: Callable[[], bytes]) -> Task:
        return Task(
            where=f"wise {item.key}",
            images=(image,),
            questions=(protocol.question(item, template),),
            read=lambda question, answer: protocol.values(answer.text),
            finish=functools.partial(_row, item, sample),
        )

    tasks = found_tasks(prompts.items, found, task)
    judged, told, comparable = judge_rows(tasks, prompts, sources, protocol.judge, template, protocol.options)
    return Evidence(judged.results, places(prompts.items), judged.problems, told, comparable)


def _row(item: Item, sample: int, said: list[Any]) -> Row:
    return Row(item.key, sample, item.category, said[0])
