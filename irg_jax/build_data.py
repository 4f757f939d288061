"""Builds the data set that training reads, and describes it.

python -m irg_jax.build_data irgl --from KIND:PATH --out DIR   # from other formats: parquet, records, folder or hf
python -m irg_jax.build_data stats DIR [--tokenizer DIR]       # modes, lengths and sizes of a data set
python -m irg_jax.build_data stats DIR --tokenizer DIR --budgets 40000   # budgets for rows of so many tokens
"""

import logging
import sys
from collections.abc import Sequence

from absl import flags

from irg_jax.core.config.command_line import log_plainly, run_command
from irg_jax.core.config.files import load
from irg_jax.core.config.schema import did_you_mean
from irg_jax.core.errors import UserError
from irg_jax.core.outputs import check_output_file, check_output_folder
from irg_jax.data.importing import build, stats, stats_plot, work, write
from irg_jax.data.tokenizer import Tokenizer
from irg_jax.training.config import parse_stage

FLAGS = flags.FlagValues()  # of this command alone, so that any program can import this module
_FROM = flags.DEFINE_string(
    "from",
    None,
    "parquet:DIR, the published folders; records:FILE.jsonl; folder:DIR of images with texts; hf:DIR, a data set of "
    "Hugging Face in parquet",
    flag_values=FLAGS,
)
_OUT = flags.DEFINE_string("out", None, "folder of the data set", flag_values=FLAGS)
_COLUMNS = flags.DEFINE_list(
    "columns", [], "from hf: FIELD=COLUMN,... where names differ; FIELD= for none", flag_values=FLAGS
)
_HELD_OUT = flags.DEFINE_float(
    "held_out",
    0.0,
    "records for the split held_out: a share below 1, or a number; all records of a prompt are in one split",
    lower_bound=0.0,
    flag_values=FLAGS,
)
_MAX_TEXT = flags.DEFINE_integer("max_text", 100_000, "the most characters of a text", lower_bound=1, flag_values=FLAGS)
_MAX_REJECTED = flags.DEFINE_float(
    "max_rejected",
    0.001,
    "share of rows that may be unusable; they are listed in rejected.jsonl",
    lower_bound=0.0,
    upper_bound=1.0,
    flag_values=FLAGS,
)
_SOURCE = flags.DEFINE_string("source", "", "of records that do not say where they come from", flag_values=FLAGS)
_LICENCE = flags.DEFINE_string("licence", "", "of images of records that do not say it", flag_values=FLAGS)
_BEAM_WORKERS = flags.DEFINE_integer(
    "beam_workers", None, "build with Apache Beam in this many local processes", lower_bound=1, flag_values=FLAGS
)
_BEAM_OPTIONS = flags.DEFINE_string(
    "beam_options",
    None,
    "build with Apache Beam with these options, such as '--runner=FlinkRunner --flink_master=...'; all workers need "
    "the paths of --from and --out",
    flag_values=FLAGS,
)
_TOKENIZER = flags.DEFINE_string(
    "tokenizer", None, "folder of a tokenizer: the index of the data set is made for it", flag_values=FLAGS
)
_BUDGETS = flags.DEFINE_integer(
    "budgets", None, "propose budgets for rows of so many tokens, such as 40000", lower_bound=1024, flag_values=FLAGS
)
_MAX_TOKENS = flags.DEFINE_integer(
    "max_tokens", 32_768, "the most tokens of a sample: how many are longer?", lower_bound=1, flag_values=FLAGS
)
_PLOT = flags.DEFINE_string("plot", None, ".png file for the distributions", flag_values=FLAGS)

# The shipped configs whose mixtures --budgets is about.
_STAGES = {"stage 1": "irg_7b_stage1", "stage 2": "irg_7b_stage2"}
ACTIONS = {
    "irgl": (
        _FROM, _OUT, _COLUMNS, _HELD_OUT, _MAX_TEXT, _MAX_REJECTED, _SOURCE, _LICENCE, _BEAM_WORKERS, _BEAM_OPTIONS,
        _TOKENIZER,
    ),
    "stats": (_TOKENIZER, _MAX_TOKENS, _PLOT, _BUDGETS),
}  # fmt: skip


def main(*arguments: str) -> None:
    """Builds or describes a data set, as the first argument says.

    Raises:
      UserError: see ``build.build`` and ``stats.collect``; or a flag or an argument that is missing or out of place.
      StorageError: the storage went on answering with errors.
    """
    log_plainly()
    action, *rest = arguments or [""]
    if action not in ACTIONS:
        raise UserError(
            f"irg_jax.build_data: {action!r} is not one of {', '.join(ACTIONS)}{did_you_mean(action, ACTIONS)}"
        )
    own = {holder.name for holder in ACTIONS[action]}
    for other, holders in ACTIONS.items():
        for holder in holders:
            if holder.name not in own and holder.present:
                raise UserError(f"--{holder.name}: is for {other}, not for {action}")
    _ACTIONS[action](rest)


def _irgl(arguments: Sequence[str]) -> None:
    if arguments:
        raise UserError(f"unexpected argument {arguments[0]!r}; a value belongs to its flag: --flag=value")
    source, out = (_given(flag) for flag in (_FROM, _OUT))
    columns = dict(_pair(text) for text in _COLUMNS.value)
    defaults = write.Defaults(_SOURCE.value, _LICENCE.value)
    options = build.Options(columns, _HELD_OUT.value, _MAX_TEXT.value, _MAX_REJECTED.value, defaults)
    if options.held_out >= 1 and options.held_out != int(options.held_out):
        raise UserError(f"--held_out: {options.held_out} is neither a share below 1 nor a whole number")
    check_output_folder(out, "--out")
    tokenizer = Tokenizer(_TOKENIZER.value) if _TOKENIZER.value else None
    beam = None
    if _BEAM_WORKERS.present or _BEAM_OPTIONS.present:
        beam = work.Beam(_BEAM_WORKERS.value or 1, _BEAM_OPTIONS.value or "")
    report = build.build(source, out, options, beam)
    for name, count in report["noted"].items():
        logging.info("%d %s", count, name)
    if report["rejected"]:
        logging.info("%d of %d rows are rejected, see %s", report["rejected"], report["rows"], build.REJECTED_FILE)
    if tokenizer is not None:
        stats.index_all(out, tokenizer)
    print(f"{out}: " + ", ".join(f"{split} {count}" for split, count in report["records"].items()))


def _stats(arguments: Sequence[str]) -> None:
    if len(arguments) != 1:
        raise UserError("irg_jax.build_data stats: give one data set, python -m irg_jax.build_data stats DIR")
    if _PLOT.value:
        check_output_file(_PLOT.value, "--plot")
        stats_plot.check(_PLOT.value)
    if _BUDGETS.value:
        stages = {name: parse_stage(load(config)).data for name, config in _STAGES.items()}
        print(stats.propose_budgets(arguments[0], _given(_TOKENIZER), _BUDGETS.value, stages))
        return
    found = stats.collect(arguments[0], _TOKENIZER.value)
    print(stats.describe(found, _MAX_TOKENS.value))
    if _PLOT.value:
        stats_plot.plot(found, _PLOT.value, _MAX_TOKENS.value)


def _given(flag: flags.FlagHolder) -> str:
    if not flag.value:
        raise UserError(f"Flag --{flag.name} must have a value other than None.")
    return flag.value


def _pair(text: str) -> tuple[str, str]:
    field, equals, column = text.partition("=")
    if not equals:
        raise UserError(f"--columns: {text!r} is not FIELD=COLUMN")
    return field, column


_ACTIONS = {"irgl": _irgl, "stats": _stats}


def _take_arguments(argv: list[str]) -> list[str]:
    """Takes the arguments up to the first flag, which run_command would refuse, out of a command line."""
    end = next((i for i, text in enumerate(argv) if i and text.startswith("-")), len(argv))
    taken = argv[1:end]
    argv[1:end] = []
    return taken


if __name__ == "__main__":
    _arguments = _take_arguments(sys.argv)
    run_command(lambda: main(*_arguments), flag_values=FLAGS)
