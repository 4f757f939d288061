"""``irg_jax.evaluate prefer``: which of two turns or runs is better, by judges that see each pair in both orders."""

import contextlib
from pathlib import Path

from absl import flags

from irg_jax.benchmarks import preference_question
from irg_jax.benchmarks.benchmark import Problem, log_problems
from irg_jax.benchmarks.preference import ALL_CATEGORIES, ALL_JUDGES, Verdict, compare
from irg_jax.benchmarks.preference_file import FILE, Verdicts, has_verdicts, read_verdicts, write_verdicts
from irg_jax.core.config.command_line import log_plainly
from irg_jax.core.errors import UserError
from irg_jax.core.locks import locked
from irg_jax.core.outputs import check_output_folder
from irg_jax.endpoints.endpoint import quiet_client
from irg_jax.endpoints.journal import Journal
from irg_jax.evaluation.benchmarks import BENCHMARKS
from irg_jax.evaluation.config import JudgesConfig, parse_judges
from irg_jax.evaluation.judging import Judge
from irg_jax.evaluation.preference import EXACT, Turn, check_pair, judge_tasks, open_turn, shapes_verdicts
from irg_jax.evaluation.run import samples

PARSE, DEFAULT_CONFIG = parse_judges, "judges"
FLAGS = flags.FlagValues()  # of this command alone, so that any program can import this module
_A = flags.DEFINE_string("a", None, "RUN/turn2, for example", required=True, flag_values=FLAGS)
_B = flags.DEFINE_string("b", None, "RUN/turn1, or a turn of another run", required=True, flag_values=FLAGS)
_OUT = flags.DEFINE_string("out", None, "folder of the verdicts", required=True, flag_values=FLAGS)
_PROMPTS = flags.DEFINE_string("prompts", None, "where they are now, if they were moved", flag_values=FLAGS)
_JUDGES = flags.DEFINE_multi_string(
    "judge",
    [],
    f"names in config.judges; {EXACT} is the exact scorer of the shapes world; all of the config if not given",
    flag_values=FLAGS,
)


def main(config: JudgesConfig) -> None:
    """Asks what is missing, and prints the win rates of A."""
    log_plainly()
    quiet_client()
    a, b = (open_turn(Path(flag.value).absolute(), f"--{flag.name}") for flag in (_A, _B))
    prompts = BENCHMARKS[a.run.benchmark].read_prompts(Path(_PROMPTS.value or a.run.prompts))
    check_pair(a, b, prompts)
    names = list(dict.fromkeys(_JUDGES.value)) or list(config.judges)
    for name in names:
        if name != EXACT:
            config.chosen(name)
    check_output_folder(_OUT.value, "--out")
    out = Path(_OUT.value).absolute()
    verdicts: list[Verdict] = []
    problems: list[Problem] = []
    protocol = {"template": "own", "template digest": preference_question.template_digest()}
    with locked(out, "--out"), contextlib.closing(Journal(out)) as journal:
        _check_output(out, a, b)
        for name in names:
            if name == EXACT:
                verdicts += shapes_verdicts(prompts, a, b)
                protocol[f"judge {name}"] = "the exact scorer of the shapes world"
                continue
            judge = Judge(name, config, journal, "preference")
            judged = judge.ask(judge_tasks(prompts, a, b, name))
            verdicts += judged.results
            problems += [*judged.problems, *judge.changes(judged)]
            answers_as = ", ".join(sorted(judged.models))
            protocol[f"judge {name}"] = f"{judge.endpoint.model}, {judge.endpoint.options}, answers as {answers_as}"
        categories = {item.key: item.category for item in prompts.items}
        log_problems(problems)
        if not verdicts:
            raise UserError("no pair was judged; the lines above say why")
        write_verdicts(
            out,
            Verdicts(
                a.run.benchmark,
                prompts.version,
                _label(a),
                _label(b),
                protocol,
                categories,
                tuple(verdicts),
                tuple(problems),
            ),
        )
    preference = compare(verdicts, categories)
    for (judge_name, category), rate in preference.win_rates.items():
        if category == ALL_CATEGORIES and (judge_name != ALL_JUDGES or len(names) > 1):
            print(
                f"{judge_name:24} A wins {rate.value:.3f} [{rate.low:.3f}, {rate.high:.3f}]: {rate.wins} to "
                f"{rate.losses}, {rate.ties} ties, {rate.position_ties} by position"
            )
    owed = len(names) * len(samples(prompts))
    judged_pairs = preference.win_rates[ALL_JUDGES, ALL_CATEGORIES].comparisons
    if judged_pairs < owed:
        print(f"of {judged_pairs} of {owed} comparisons: the others were not answered in both orders")
    if len(names) > 1:
        print(f"agreement of judges {preference.agreement:.3f}, Krippendorff's alpha {preference.alpha:.3f}")
    print(out / FILE)


def _check_output(out: Path, a: Turn, b: Turn) -> None:
    """Raises a UserError where ``out`` has the verdicts on other turns, which would be lost."""
    if not has_verdicts(out):
        return
    try:
        before = read_verdicts(out)
    except UserError:
        return  # a damaged file is written anew
    if (before.benchmark, before.a, before.b) != (a.run.benchmark, _label(a), _label(b)):
        raise UserError(
            f"--out: {out / FILE} is about {before.a} and {before.b} of {before.benchmark}; choose another folder"
        )


def _label(turn: Turn) -> str:
    return f"{turn.out.name} turn {turn.number}"
