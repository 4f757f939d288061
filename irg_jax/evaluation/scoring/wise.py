"""WISE's rows, from a judge."""

from collections.abc import Callable

from irg_jax.benchmarks.benchmark import FoundImages, Item, PromptSet
from irg_jax.benchmarks.wise.judge import PROTOCOLS
from irg_jax.evaluation.judging import Task
from irg_jax.evaluation.scoring.evidence import Evidence, Sources, found_tasks, judge_rows, places, row_task


def score(prompts: PromptSet, found: FoundImages, sources: Sources) -> Evidence:
    """The marks of each image. Raises UserError for a template that is none, and what a judge raises."""
    # Prompts of one's own are judged as WISE_Verified is.
    protocol = PROTOCOLS.get(prompts.version) or PROTOCOLS["verified"]
    template = protocol.template(sources.template)

    def task(item: Item, sample: int, image: Callable[[], bytes]) -> Task:
        question = protocol.question(item, template)
        return row_task(f"wise {item.key}", item, sample, image, question, lambda answer: protocol.values(answer.text))

    tasks = found_tasks(prompts.items, found, task)
    judged, told, comparable = judge_rows(tasks, prompts, sources, protocol.judge, template, protocol.options)
    return Evidence(judged.results, places(prompts.items), judged.problems, told, comparable)
