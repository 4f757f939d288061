"""``irg_jax.evaluate score``: images in an official layout, by the official rules, from files or a judge."""

import contextlib
import dataclasses
import functools
import logging
from pathlib import Path

from absl import flags

from irg_jax.benchmarks.benchmark import Place, PromptSet
from irg_jax.benchmarks.results import FILE, Result, write_result
from irg_jax.core.config.command_line import log_plainly
from irg_jax.core.config.schema import did_you_mean
from irg_jax.core.errors import UserError
from irg_jax.core.locks import locked
from irg_jax.core.outputs import check_output_folder
from irg_jax.core.small_files import make_folder
from irg_jax.endpoints.endpoint import quiet_client
from irg_jax.endpoints.journal import Journal
from irg_jax.evaluation.benchmarks import BENCHMARKS
from irg_jax.evaluation.config import JudgesConfig, parse_judges
from irg_jax.evaluation.judging import Judge
from irg_jax.evaluation.run import BenchmarkRun, layout_folder, read_run, samples
from irg_jax.evaluation.score import Turn, check_output, score
from irg_jax.evaluation.scoring import FILES
from irg_jax.evaluation.scoring.evidence import Sources

PARSE, DEFAULT_CONFIG = parse_judges, "judges"
FLAGS = flags.FlagValues()  # of this command alone, so that any program can import this module
_RUN = flags.DEFINE_string("run", None, "folder of irg_jax.evaluate generate", flag_values=FLAGS)
_BENCHMARK = flags.DEFINE_enum("benchmark", None, list(BENCHMARKS), "of --images", flag_values=FLAGS)
_IMAGES = flags.DEFINE_string(
    "images", None, "an official layout that another program wrote, instead of --run", flag_values=FLAGS
)
_MODEL = flags.DEFINE_string("model", None, "the name of the model in that layout", flag_values=FLAGS)
_PROMPTS = flags.DEFINE_string(
    "prompts", None, "the official file or folder of prompts; where the run read them if not given", flag_values=FLAGS
)
_TURN = flags.DEFINE_integer("turn", None, "1 or 2; each if not given", lower_bound=1, flag_values=FLAGS)
_OUT = flags.DEFINE_string("out", None, "folder of the scores; RUN/scores if not given", flag_values=FLAGS)
_FILES = flags.DEFINE_multi_string(
    "file", [], "NAME=PATH of detections, scores or embeddings; {turn} in it is the turn", flag_values=FLAGS
)
_JUDGE = flags.DEFINE_string("judge", None, "its name in config.judges, if there are several", flag_values=FLAGS)
_ALLOW_PARTIAL = flags.DEFINE_bool(
    "allow_partial", False, "scores what is there; an overall then says of how many prompts it is", flag_values=FLAGS
)


def main(config: JudgesConfig) -> None:
    """Scores each turn, and prints its figures."""
    log_plainly()
    quiet_client()
    run, prompts = _open()
    turns = _turns(run)
    files = [_files(run.benchmark, turn.number) for turn in turns]
    if _RUN.value is None and _OUT.value is None:
        raise UserError("--out: give a folder for the scores of --images")
    out = Path(_OUT.value).absolute() if _OUT.value else Path(_RUN.value or "").absolute() / "scores"
    check_output_folder(out, "--out")
    name, _ = config.chosen(_JUDGE.value)
    with locked(out, "--out"), contextlib.ExitStack() as opened:

        @functools.cache
        def judge() -> Judge:
            journal = opened.enter_context(contextlib.closing(Journal(out)))
            return Judge(name, config, journal, run.benchmark)

        for turn in turns:
            check_output(_folder(out, turn), turn)
        for turn, given in zip(turns, files, strict=True):
            sources = Sources(
                model=run.model,
                prompts=Path(run.prompts),
                files=given,
                template=Path(config.template) if config.template else None,
                random_seed=run.seed if config.template_choice == "random" else None,
                open_judge=judge,
            )
            folder = _folder(out, turn)
            result = score(
                BENCHMARKS[run.benchmark], prompts, turn, sources,
                images=_shown(turn, prompts), out=folder, allow_partial=_ALLOW_PARTIAL.value,
            )  # fmt: skip
            make_folder(folder)
            write_result(folder, result)
            _print(result, folder)


def _folder(out: Path, turn: Turn) -> Path:
    return out / f"turn{turn.number}"


def _open() -> tuple[BenchmarkRun, PromptSet]:
    """The run and its prompts; for images of another program a run that knows only what the flags say."""
    if (_RUN.value is None) == (_IMAGES.value is None):
        raise UserError("give either --run DIR, or --images DIR with --benchmark, --prompts, --model and --out")
    if _RUN.value is not None:
        for flag in (_BENCHMARK, _MODEL):
            if flag.value is not None:
                raise UserError(f"--{flag.name}: is that of --run; leave it out")
        run = read_run(Path(_RUN.value).absolute())
        path = Path(_PROMPTS.value or run.prompts)
        prompts = BENCHMARKS[run.benchmark].read_prompts(path)
        if prompts.digest != run.prompts_digest:
            raise UserError(f"--prompts: {path} is not the file that {_RUN.value} was generated from; give that one")
        return _moved(run, path), prompts
    name, model, given = _needed(_BENCHMARK), _needed(_MODEL), Path(_needed(_PROMPTS)).absolute()
    prompts = BENCHMARKS[name].read_prompts(given)
    run = BenchmarkRun(
        benchmark=name,
        version=prompts.version,
        prompts=str(given),
        prompts_digest=prompts.digest,
        images=prompts.images,
        model=model,
        checkpoint="",
        step=0,
        weights="",
        turns=_TURN.value or 1,
        seed=0,
        sampling={},
    )
    return run, prompts


def _needed(flag: flags.FlagHolder[str | None]) -> str:
    if flag.value is None:
        raise UserError(f"--{flag.name}: is missing; --images needs it")
    return flag.value


def _moved(run: BenchmarkRun, prompts: Path) -> BenchmarkRun:
    return dataclasses.replace(run, prompts=str(prompts.absolute()))


def _turns(run: BenchmarkRun) -> list[Turn]:
    if _IMAGES.value is not None:
        return [Turn(Path(_IMAGES.value).absolute(), run.turns, run)]
    if _TURN.value is not None and _TURN.value > run.turns:
        raise UserError(f"--turn: {_RUN.value} has {run.turns} turns, not {_TURN.value}")
    numbers = [_TURN.value] if _TURN.value else range(1, run.turns + 1)
    return [Turn(layout_folder(Path(_RUN.value or "").absolute(), number), number, run) for number in numbers]


def _files(benchmark: str, turn: int) -> dict[str, Path]:
    files = {}
    for given in _FILES.value:
        name, _, path = given.partition("=")
        known = FILES[benchmark]
        if name not in known or not path:
            listed = ", ".join(f"{name}=PATH" for name in known) or "no file"
            raise UserError(f"--file {given}: {benchmark} takes {listed}{did_you_mean(name, known)}")
        if name in files:
            raise UserError(f"--file {given}: {name} is given twice; keep one of them")
        files[name] = Path(path.replace("{turn}", str(turn)))
        if not files[name].exists():
            raise UserError(f"--file {given}: there is no {files[name]}")
    return files


def _shown(turn: Turn, prompts: PromptSet) -> dict[Place, Path]:
    """The image of each sample of a run, for the gallery of a report."""
    if not turn.run.weights:
        return {}
    return {
        (sample.item.key, sample.number): sample.image(turn.layout.parent, turn.number) for sample in samples(prompts)
    }


def _print(result: Result, folder: Path) -> None:
    logging.info(
        "%s %s, turn %d: %d of %d prompts%s", result.benchmark, result.version, result.turn, result.scored_items,
        result.expected_items, "" if result.comparable else "; not comparable with published figures",
    )  # fmt: skip
    for name, figure in result.figures.items():
        print(f"{result.shown_name(name):32} {figure.value:.4f}  [{figure.low:.4f}, {figure.high:.4f}]")
    print(folder / FILE)
