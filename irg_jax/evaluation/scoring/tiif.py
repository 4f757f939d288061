"""TIIF-Bench's rows, from a judge, or from the result files of the official one."""

import functools
import json
from collections.abc import Callable
from typing import Any

from irg_jax.benchmarks.benchmark import FoundImages, Item, PromptSet, Row
from irg_jax.benchmarks.tiif import judge
from irg_jax.benchmarks.tiif.results import read_results
from irg_jax.evaluation.judging import Task
from irg_jax.evaluation.scoring.evidence import Evidence, Sources, found_tasks, judge_rows, places, rows_with_images

FILES = {"official": "the folder of the official judge's result files, EVAL/MODEL/TYPE/{short,long}/IDX.json"}


def score(prompts: PromptSet, found: FoundImages, sources: Sources) -> Evidence:
    """The right answers about each image. Raises UserError for templates that are none, and what a judge raises."""
    if "official" in sources.files:
        owed, path = places(prompts.items), sources.files["official"]
        rows, lacking = rows_with_images(read_results(prompts, path, model=sources.model), owed, found, path)
        return Evidence(rows, owed, lacking, {"judge": "official result files"}, prompts.version != "custom")
    templates = judge.load_templates(sources.template)

    def task(item: Item, sample: int, image: Callable[[], bytes]) -> Task:
        template = judge.choose_template(templates, item.key, sources.random_seed)
        return Task(
            where=f"tiif {item.key}",
            images=(image,),
            questions=(judge.question(item, template),),
            read=lambda question, answer: judge.values(item, answer.text),
            finish=functools.partial(_row, item, sample),
        )

    tasks = found_tasks(prompts.items, found, task)
    judged, told, comparable = judge_rows(tasks, prompts, sources, judge.OFFICIAL_JUDGE, templates[0])
    told["official options"] = json.dumps({"temperature": judge.OFFICIAL_TEMPERATURE})
    if len(templates) > 1:
        chosen = "random, as officially" if sources.random_seed is not None else f"always {templates[0].name}"
        told |= {"template": chosen, "template digest": ", ".join(template.digest for template in templates)}
        comparable = comparable and all(template.comparable for template in templates)
    return Evidence(judged.results, places(prompts.items), judged.problems, told, comparable)


def _row(item: Item, sample: int, said: list[Any]) -> Row:
    return Row(item.key, sample, item.category, said[0])
