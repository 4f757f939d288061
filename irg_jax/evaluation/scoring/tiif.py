"""TIIF-Bench's rows, from a judge, or from the result files of the official one."""

import json
from collections.abc import Callable

from irg_jax.benchmarks.benchmark import FoundImages, Item, PromptSet
from irg_jax.benchmarks.tiif import judge
from irg_jax.benchmarks.tiif.results import read_results
from irg_jax.evaluation.judging import Task
from irg_jax.evaluation.scoring.evidence import (
    Evidence,
    Sources,
    found_tasks,
    judge_rows,
    places,
    row_task,
    rows_with_images,
)

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
        question = judge.question(item, template)
        return row_task(
            f"tiif {item.key}", item, sample, image, question, lambda answer: judge.values(item, answer.text)
        )

    tasks = found_tasks(prompts.items, found, task)
    judged, told, comparable = judge_rows(tasks, prompts, sources, judge.OFFICIAL_JUDGE, templates[0])
    told["official options"] = json.dumps({"temperature": judge.OFFICIAL_TEMPERATURE})
    if len(templates) > 1:
        chosen = "random, as officially" if sources.random_seed is not None else f"always {templates[0].name}"
        told |= {"template": chosen, "template digest": ", ".join(template.digest for template in templates)}
        comparable = comparable and all(template.comparable for template in templates)
    return Evidence(judged.results, places(prompts.items), judged.problems, told, comparable)
