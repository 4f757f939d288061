"""GenAI-Bench's rows: VQAScores from a file, or the probability of yes from a judge."""

import functools
from collections.abc import Callable
from typing import Any

from irg_jax.benchmarks.benchmark import FoundImages, Item, PromptSet, Row
from irg_jax.benchmarks.genai_bench import judge
from irg_jax.benchmarks.genai_bench.prompts import is_scored
from irg_jax.benchmarks.genai_bench.vqascore import read_rows
from irg_jax.evaluation.judging import Task
from irg_jax.evaluation.scoring.evidence import Evidence, Sources, found_tasks, judge_rows, places

FILES = {"vqascores": "scores of CLIP-FlanT5-XXL: JSON or CSV by id, or the array that t2v_metrics saves"}


def score(prompts: PromptSet, found: FoundImages, sources: Sources) -> Evidence:
    """The score of each image with a skill. Raises UserError for a damaged file, and what a judge raises."""
    owed = places([item for item in prompts.items if is_scored(item)])
    if "vqascores" in sources.files:
        rows = [row for row in read_rows(prompts, sources.files["vqascores"]) if (row.key, row.sample) in found.images]
        return Evidence(rows, owed, [], {"scorer": "VQAScores from a file"}, prompts.version != "custom")

    def task(item: Item, sample: int, image: Callable[[], bytes]) -> Task | None:
        question = judge.question(item)
        if question is None:
            return None
        return Task(
            where=f"genai_bench {item.key}",
            images=(image,),
            questions=(question,),
            read=lambda question, answer: judge.values(answer.logprobs),
            finish=functools.partial(_row, item, sample),
        )

    judged, told, _ = judge_rows(found_tasks(prompts.items, found, task), prompts, sources, judge.OFFICIAL_JUDGE, None)
    # The published figures of this benchmark are CLIP-FlanT5-XXL's.
    told |= {"scorer": "probability of yes by a chat model; another scale than CLIP-FlanT5-XXL's"}
    return Evidence(judged.results, owed, judged.problems, told, comparable=False)


def _row(item: Item, sample: int, said: list[Any]) -> Row:
    return Row(item.key, sample, item.category, said[0])
