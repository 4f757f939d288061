"""Makes new training data: ``python -m irg_jax.curate --config curate --prompts FILE --out DIR``.

From prompts: thinking 1 by a teacher, a weak image 1 by the own model, a good image 2 by a teacher of pictures, and
thinking 2 by a teacher that compares both; what the input gives is kept. Teachers are OpenAI-compatible endpoints.
Writes DIR/records.jsonl, DIR/images, DIR/rejected.jsonl with reasons, and DIR/index.html to look at. The same command
again goes on where it stopped, also after ``kill -9``, and pays for nothing twice. docs/curate.md has the rest.
"""

import contextlib
import logging
from pathlib import Path

from absl import flags

from irg_jax.core.config.command_line import log_plainly, run_command
from irg_jax.core.config.files import to_json
from irg_jax.core.errors import UserError
from irg_jax.core.locks import locked
from irg_jax.core.outputs import check_output_folder
from irg_jax.core.small_files import write_text
from irg_jax.core.storage import is_url
from irg_jax.curation import estimate, page
from irg_jax.curation.config import CurateConfig, parse_config
from irg_jax.curation.outputs import RECORDS, REJECTED
from irg_jax.curation.pipeline import Pipeline
from irg_jax.curation.prompts import check_inputs, read_entries
from irg_jax.curation.steps import needs
from irg_jax.curation.template import load_templates
from irg_jax.curation.weak_images import open_checkpoint, sampling_changes
from irg_jax.endpoints.endpoint import import_openai, quiet_client, read_key
from irg_jax.endpoints.journal import FILE as JOURNAL
from irg_jax.endpoints.journal import Journal

FLAGS = flags.FlagValues()  # of this command alone, so that any program can import this module
_PROMPTS = flags.DEFINE_string(
    "prompts", None, "a text file with one prompt per line, or records as .jsonl", required=True, flag_values=FLAGS
)
_OUT = flags.DEFINE_string("out", None, "folder of records, images and journal", required=True, flag_values=FLAGS)
_TEMPLATES = flags.DEFINE_string("templates", None, "folder of prompt templates of your own", flag_values=FLAGS)
_ESTIMATE_ONLY = flags.DEFINE_bool("estimate_only", False, "says what it would cost, and ends", flag_values=FLAGS)


def main(config: CurateConfig) -> None:
    """Makes the records that are missing."""
    log_plainly()
    quiet_client()
    # All that is given is looked at before anything is paid.
    config.check_prices()
    entries, repeated = read_entries(_PROMPTS.value)
    templates = load_templates(_TEMPLATES.value)
    check_inputs(entries, config.steps, needs(config))
    if is_url(_OUT.value):
        raise UserError(
            f"--out: {_OUT.value} is a URL; give a folder of this machine, the journal is written line by line"
        )
    check_output_folder(_OUT.value, "--out")
    if not _ESTIMATE_ONLY.value:
        import_openai()
        for step, teacher in config.teachers().items():
            read_key(step, teacher)
        if "image1" in config.steps:
            open_checkpoint(config)
            sampling_changes(config)
    out = Path(_OUT.value).absolute()
    if _ESTIMATE_ONLY.value and not (out / JOURNAL).exists():
        _say_estimate(estimate.estimate(config, entries, templates, {}), config, 0.0)
        return
    with locked(out, "--out"), contextlib.closing(Journal(out)) as journal:
        _say_estimate(estimate.estimate(config, entries, templates, journal.spending), config, journal.spent)
        if _ESTIMATE_ONLY.value:
            return
        write_text(out / "config.json", to_json(config))
        run = Pipeline(config, entries, templates, out, journal)
        stopped_by = run.run(repeated)
        run.records.write(out / RECORDS)
        run.rejected.write(out / REJECTED)
        page.write_page(out, run.records, run.rejected, journal.spending, config.page_samples)
        left = f", {run.unfinished} unfinished" if stopped_by else ""
        counts = f"{len(run.records)} records, {len(run.rejected)} rejected{left}"
        print(f"{out / RECORDS}: {counts}; {journal.spent:.4f} spent")
        print(out / page.FILE)
        if stopped_by is not None:
            raise stopped_by


def _say_estimate(steps: list[estimate.StepEstimate], config: CurateConfig, spent: float) -> None:
    for line in estimate.in_words(steps, config, spent):
        logging.info("%s", line)


if __name__ == "__main__":
    run_command(main, parse=parse_config, flag_values=FLAGS)
