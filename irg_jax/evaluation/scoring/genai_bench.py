"""GenAI-Bench's rows: VQAScores from a file, or the probability of yes from a judge."""

import functools
from collections.abc import Callable
from typing import Any

from irg_jax.benchmarks.benchmark import FoundImages, Item, Problem, PromptSet, Row
from irg_jax.benchmarks.genai_bench import judge
from irg_jax.benchmarks.genai_bench.prompts import is_scored
from irg_jax.benchmarks.genai_bench.vqascore import read_rows
from irg_jax.benchmarks.measurements import made_by
from irg_jax.evaluation.judging import Task
from irg_jax.evaluation.scoring.evidence import Evidence, Sources, found_tasks, judge_rows, places, rows_with_images

FILES = {"vqascores": "scores of CLIP-FlanT5-XXL: of measure, JSON or CSV by id, or the array that t2v_metrics saves"}


def score(prompts: PromptSet, found: FoundImages, sources: Sources) -> Evidence:
    """The score of each image with a skill. Raises UserError for a damaged file, and what a judge raises."""
    owed = places([item for item in prompts.items if is_scored(item)])
    if "vqascores" in sources.files:
        path = sources.files["vqascores"]
        rows, lacking = rows_with_images(read_rows(prompts, path), owed, found, path)
        return Evidence(
            rows, owed, lacking, {"scorer": f"VQAScores from a file{made_by(path)}"}, prompts.version != "custom"
        )

    def task(item: Item, sample: int, image: Callable[[], bytes]) -> Task | None:
        question = judge.question(item)
        if question is None:
            return None
        return Task(
            where=f"genai_bench {item.key}",
            images=(image,),
            questions=(question,),
            read=lambda question, answer: (judge.values(answer.logprobs), answer.logprobs),
            finish=functools.partial(_row, item, sample),
        )

    judged, told, _ = judge_rows(found_tasks(prompts.items, found, task), prompts, sources, judge.OFFICIAL_JUDGE, None)
    # The published figures of this benchmark are CLIP-FlanT5-XXL's.
    told |= {"scorer": "probability of yes by a chat model; another scale than CLIP-FlanT5-XXL's"}
    unclear = [problem for _, problem in judged.results if problem is not None]
    rows = [row for row, _ in judged.results]
    return Evidence(rows, owed, [*judged.problems, *unclear], told, comparable=False)


def _row(item: Item, sample: int, said: list[Any]) -> tuple[Row, Problem | None]:
    """The row of an image; with a problem where the official rule makes 0 of an answer that says neither."""
    values, likely = said[0]
    problem = None
    if not judge.says_yes_or_no(likely):
        reason = f"neither yes nor no is among the first tokens ({likely[0][0]!r:.40} is): counts as 0, as officially"
        problem = Problem(
            "unclear", f"genai_bench {item.key}", f"{reason}; look whether the judge follows the question"
        )
    return Row(item.key, sample, item.category, values), problem
