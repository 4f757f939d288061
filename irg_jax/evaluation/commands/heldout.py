"""``irg_jax.evaluate heldout``: two turns for held-out prompts of the shapes world, perception, and a report."""

from absl import flags

from irg_jax.core.config.command_line import log_plainly
from irg_jax.core.outputs import check_output_folder
from irg_jax.core.storage import as_path
from irg_jax.experiment import controls, held_out, perception
from irg_jax.reporting.build import build_report
from irg_jax.reporting.wording import percent, signed_interval
from irg_jax.sharding import processes

FLAGS = flags.FlagValues()  # of this command alone, so that any program can import this module
_CHECKPOINT = flags.DEFINE_string(
    "checkpoint", None, "folder of a run, or of one of its checkpoints", required=True, flag_values=FLAGS
)
_STEP = flags.DEFINE_integer("step", None, "of the checkpoint; the latest if not given", flag_values=FLAGS)
_OUT = flags.DEFINE_string("out", None, "by default evaluations/heldout_STEP beside the checkpoints", flag_values=FLAGS)
_DATA = flags.DEFINE_string("data", None, "data set with the prompts; the run's own if not given", flag_values=FLAGS)
_PROMPTS = flags.DEFINE_integer(
    "prompts", 96, "number of prompts, the first of the split", lower_bound=1, flag_values=FLAGS
)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 32, "prompts sampled together", lower_bound=1, flag_values=FLAGS)
_SEED = flags.DEFINE_integer("seed", 0, "of the samples", lower_bound=0, upper_bound=2**32 - 1, flag_values=FLAGS)
_PERCEPTION = flags.DEFINE_integer(
    "perception", 300, "weak pictures of the data set to reflect on; 0 for none", lower_bound=0, flag_values=FLAGS
)
_CONTROLS = flags.DEFINE_integer(
    "controls",
    0,
    "samples whose second turn is repeated with another reflection, another picture and more turns",
    lower_bound=0,
    flag_values=FLAGS,
)


def main() -> None:
    """Samples, scores and prints both turns, and how true thinking 2 is of given pictures."""
    log_plainly()
    sizes = dict(prompts=_PROMPTS.value, batch_size=_BATCH_SIZE.value, seed=_SEED.value)
    sizes |= dict(perception=_PERCEPTION.value, controls=_CONTROLS.value)
    stage, config = held_out.open_evaluation(_CHECKPOINT.value, _STEP.value, _DATA.value, **sizes)
    out = as_path(_OUT.value) if _OUT.value else stage.folder / "evaluations" / f"heldout_{stage.step:08d}"
    check_output_folder(out, "--out")
    processes.initialize()
    held_out.generate(stage.folder, config, out / "samples", stage.step)
    processes.wait_for_all("samples")
    if not processes.is_primary():
        return
    if config.perception:
        perception.measure(stage.folder, config, out, stage.step)
    if config.controls:
        controls.measure(stage.folder, config, out, stage.step)
    scores = build_report(out, stage.step)
    print(out / "report.html")
    first, second = scores["turn1"]["overall"], scores["turn2"]["overall"]
    print(f"turn 1 {first:.3f}  turn 2 {second:.3f}  ({scores['scored']} scored samples, mean of the kinds)")
    seen = scores["perception"]
    if seen and seen["balanced"] is not None:
        faulty, faultless = (percent(seen[name]["share"]) for name in ("faulty", "faultless"))
        print(
            f"perception {percent(seen['balanced'])}: faults named in {faulty}, none where there is none in {faultless}"
        )
    for name, found in scores["controls"].items():
        print(f"{name}: {signed_interval(found['minus_turn2'])} points on turn 2")
