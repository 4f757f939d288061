"""OneIG-Bench's rows: alignment and text from a judge; reasoning, style and diversity from scores or embeddings."""

import functools
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from irg_jax.benchmarks.benchmark import FoundImages, Item, Place, Problem, PromptSet, Row, UnreadableAnswer
from irg_jax.benchmarks.judge import Question
from irg_jax.benchmarks.measurements import made_by
from irg_jax.benchmarks.oneig import alignment, references, similarity, text
from irg_jax.benchmarks.oneig.question import Question as OneIGQuestion
from irg_jax.benchmarks.oneig.score_files import read_arrays, read_embeddings, read_official_csv, read_scores
from irg_jax.core.errors import UserError
from irg_jax.endpoints.journal import Answer
from irg_jax.evaluation.judging import Task
from irg_jax.evaluation.scoring.evidence import Evidence, Sources, found_tasks, judge_rows, merge, places

FILES = {
    "alignment": "the official script's CSV, instead of a judge",
    "text": "likewise",
    "reasoning": "scores as JSON, or the official script's CSV",
    "reasoning_embeddings": "LLM2CLIP embeddings of the images (.npz, .npy), with answer_embeddings",
    "answer_embeddings": "of the reference answers (.npz)",
    "style": "the official script's CSV",
    "csd": "scores as JSON, with se",
    "se": "likewise, of the style encoder",
    "csd_embeddings": "embeddings of the images, with csd_references, se_embeddings and se_references",
    "csd_references": "embeddings of the reference images by style (.npz)",
    "se_embeddings": "see csd_embeddings",
    "se_references": "see csd_references",
    "diversity": "of measure, distances of pairs as JSON, or the official script's CSV",
    "dreamsim_embeddings": "embeddings of the images, whose pairs are compared",
}
OFFICIAL_JUDGE = "Qwen2.5-VL-7B-Instruct"
_OF_METRIC = {
    "reasoning": ("reasoning", "reasoning_embeddings"),
    "style": ("style", "csd", "csd_embeddings"),
    "diversity": ("diversity", "dreamsim_embeddings"),
}


def score(prompts: PromptSet, found: FoundImages, sources: Sources) -> Evidence:
    """The rows of alignment and text, and of those of the other metrics that there are files for.

    Raises:
      UserError: a damaged file, a reference file that is missing, and what a judge raises.
    """
    folder = sources.prompts if sources.prompts.is_dir() else sources.prompts.parent
    judged = [metric for metric in ("alignment", "text") if metric not in sources.files]
    rows, owed, problems, told, comparable = _judge(judged, prompts, found, sources, folder)
    half_scored = _without(owed, rows)
    for metric in ("alignment", "text", "reasoning", "style", "diversity"):
        if metric in judged or not any(name in sources.files for name in _OF_METRIC.get(metric, (metric,))):
            continue
        items = _items(metric, prompts, folder)
        own = _read(metric, items, sources, folder)
        told[metric] = "from a file" + (made_by(sources.files[metric]) if metric in sources.files else "")
        # Who made other files, and with which weights, is not known.
        comparable = comparable and metric in sources.files and sources.files[metric].suffix == ".csv"
        one_each = metric == "diversity" or {row.sample for row in own} == {0}
        seen = {key for key, _ in found.images}
        own = [row for row in own if (row.key in seen if one_each else (row.key, row.sample) in found.images)]
        of_metric = {(item.key, 0) for item in items} if one_each else set(places(items))
        lacking = _without(of_metric, own)
        there = {(key, 0) for key in seen} if one_each else set(found.images)
        problems += _unscored(metric, sorted(lacking & there))
        rows += own
        owed |= of_metric
        half_scored |= lacking
    return Evidence(merge(rows), owed, problems, told, comparable and prompts.version != "custom", half_scored)


def _without(owed: Iterable[Place], rows: Sequence[Row]) -> set[Place]:
    """The images that have no row of a metric; they may have one of another metric."""
    return set(owed).difference((row.key, row.sample) for row in rows)


def _unscored(metric: str, lacking: Sequence[Place]) -> list[Problem]:
    """A problem for each image that is there, but has no score in the file of a metric."""
    return [
        Problem("missing", f"oneig {key} sample {sample}", f"the file of {metric} has no score of it; score it again")
        for key, sample in lacking
    ]


def _judge(
    metrics: Sequence[str], prompts: PromptSet, found: FoundImages, sources: Sources, folder: Path
) -> tuple[list[Row], set[Place], list[Problem], dict[str, str], bool]:
    items: list[Item] = []
    make: dict[str, Callable[[Item, int, Callable[[], bytes]], Task]] = {}
    if "alignment" in metrics:
        checks = references.read_checks(references.find_file(folder, "Q_D"))
        references.check_complete(prompts, references.ALIGNED, checks, "Q_D")
        aligned = _items("alignment", prompts, folder)
        items += aligned
        for item in aligned:
            of = checks[item.key]
            make[item.key] = functools.partial(_task, alignment.questions(of), functools.partial(alignment.values, of))
    if "text" in metrics:
        texts = references.read_texts(references.find_file(folder, "text_content.csv"))
        references.check_complete(prompts, ["text"], texts, "text_content.csv")
        written = _items("text", prompts, folder)
        items += written
        for item in written:
            make[item.key] = functools.partial(
                _task, text.questions(texts[item.key]), functools.partial(text.values, texts[item.key])
            )
    if not items:
        return [], set(), [], {}, True
    tasks = found_tasks(items, found, lambda item, sample, image: make[item.key](item, sample, image))
    judged, told, comparable = judge_rows(tasks, prompts, sources, OFFICIAL_JUDGE, None)
    unclear = [problem for row in judged.results for problem in row[1]]
    return [row[0] for row in judged.results], set(places(items)), [*judged.problems, *unclear], told, comparable


def _task(
    asked: Sequence[OneIGQuestion],
    values: Callable[[dict[str, str]], dict[str, float]],
    item: Item,
    sample: int,
    image: Callable[[], bytes],
) -> Task:
    questions = [
        Question(item.key, sample, question.id, "", question.text, question.max_tokens, image_first=True)
        for question in asked
    ]

    where = f"oneig {item.key} sample {sample}"

    def finish(said: list[Answer]) -> tuple[Row, list[Problem]]:
        of = {question.name: answer for question, answer in zip(questions, said, strict=True)}
        answers = {name: answer.text for name, answer in of.items()}
        if item.category in references.ALIGNED:
            odd = {name: f"{answers[name]!r:.60} counts as no" for name in alignment.unclear(answers)}
        else:
            odd = {name: "the answer is cut off, and counts as it is" for name in of if of[name].finish == "length"}
        problems = [
            Problem("unclear", where, f"question {name}: {reason}, as officially") for name, reason in odd.items()
        ]
        return Row(item.key, sample, item.category, values(answers)), problems

    return Task(where, (image,), tuple(questions), _answer, finish)


def _answer(question: Question, answer: Answer) -> Answer:
    if not answer.text:
        raise UnreadableAnswer("answer is empty; ask again")
    return answer


def _items(metric: str, prompts: PromptSet, folder: Path) -> list[Item]:
    if metric == "alignment":
        return [item for item in prompts.items if item.category in references.ALIGNED]
    if metric == "text":
        return [item for item in prompts.items if item.category == "text"]
    styles = references.read_styles(references.find_file(folder, "style.csv")) if metric == "style" else {}
    return similarity.items_of(metric, prompts.items, styles)


def _read(metric: str, items: list[Item], sources: Sources, folder: Path) -> list[Row]:
    files = sources.files
    if metric in files and (files[metric].suffix == ".csv" or metric in ("alignment", "text", "style")):
        texts = references.read_texts(references.find_file(folder, "text_content.csv")) if metric == "text" else {}
        return read_official_csv(files[metric], metric, items, sources.model, texts)
    if metric == "reasoning":
        scores = read_scores(files[metric], items) if metric in files else _reasoning(items, sources)
        return [row for item in items for row in similarity.reasoning_rows(item, scores[item.key])]
    if metric == "diversity":
        distances = read_scores(files[metric], items) if metric in files else _diversity(items, sources)
        return [row for item in items for row in similarity.diversity_rows(item, distances[item.key])]
    styles = references.read_styles(references.find_file(folder, "style.csv"))
    both = [_style(name, items, styles, sources) for name in ("csd", "se")]
    return [row for item in items for row in similarity.style_rows(item, *(of[item.key] for of in both))]


def _reasoning(items: list[Item], sources: Sources) -> dict[str, Sequence[float]]:
    images = read_embeddings(sources.files["reasoning_embeddings"], items)
    answers = read_arrays(_given(sources, "answer_embeddings"), [item.key for item in items])
    return {
        item.key: list(similarity.reasoning_scores(images[item.key], answers[item.key], item.key)) for item in items
    }


def _diversity(items: list[Item], sources: Sources) -> dict[str, Sequence[float]]:
    images = read_embeddings(sources.files["dreamsim_embeddings"], items)
    return {item.key: similarity.pair_distances(images[item.key], item.key) for item in items}


def _style(name: str, items: list[Item], styles: dict[str, str], sources: Sources) -> dict[str, Sequence[float]]:
    if name in sources.files:
        return dict(read_scores(sources.files[name], items))
    images = read_embeddings(_given(sources, f"{name}_embeddings"), items)
    of_style = read_arrays(_given(sources, f"{name}_references"), sorted({styles[item.key] for item in items}))
    return {
        item.key: list(similarity.nearest_scores(images[item.key], of_style[styles[item.key]], item.key))
        for item in items
    }


def _given(sources: Sources, name: str) -> Path:
    if name not in sources.files:
        raise UserError(f"oneig: give --file {name}=FILE too ({FILES[name]})")
    return sources.files[name]
