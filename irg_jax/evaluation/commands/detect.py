"""``irg_jax.evaluate detect``: the objects in GenEval's images, by a detector that runs here."""

from pathlib import Path

from absl import flags

from irg_jax.benchmarks import geneval
from irg_jax.benchmarks.benchmark import log_problems
from irg_jax.benchmarks.geneval.detect import detect
from irg_jax.benchmarks.geneval.detector import CLASSIFIER, DETECTOR, load_classifier, load_detector, protocol
from irg_jax.core.config.command_line import log_plainly
from irg_jax.core.errors import UserError
from irg_jax.core.locks import locked
from irg_jax.core.outputs import check_output_file

FLAGS = flags.FlagValues()  # of this command alone, so that any program can import this module
_IMAGES = flags.DEFINE_string("images", None, "GenEval's layout, such as RUN/turn2", required=True, flag_values=FLAGS)
_PROMPTS = flags.DEFINE_string("prompts", None, "evaluation_metadata.jsonl", required=True, flag_values=FLAGS)
_OUT = flags.DEFINE_string("out", None, "file of the detections; it goes on in it", required=True, flag_values=FLAGS)
_DETECTOR = flags.DEFINE_string("detector", DETECTOR, "a Mask2Former of transformers", flag_values=FLAGS)
_CLASSIFIER = flags.DEFINE_string("classifier", CLASSIFIER, "a CLIP of transformers, for colours", flag_values=FLAGS)
_DEVICE = flags.DEFINE_string("device", "cpu", "of torch, such as cuda", flag_values=FLAGS)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 4, "images at a time", lower_bound=1, flag_values=FLAGS)


def main() -> None:
    """Adds the images that are missing to the file."""
    log_plainly()
    check_output_file(_OUT.value, "--out")
    prompts = geneval.read_prompts(Path(_PROMPTS.value))
    found = geneval.find_images(prompts, Path(_IMAGES.value), model="")
    log_problems(found.problems)
    if not found.images:
        raise UserError(f"--images: {_IMAGES.value} has no image of these prompts; the lines above say why")
    with locked(_OUT.value, "--out", beside=True):
        count = detect(
            prompts,
            found,
            Path(_OUT.value),
            load_detector(_DETECTOR.value, _DEVICE.value),
            load_classifier(_CLASSIFIER.value, _DEVICE.value),
            name=protocol(_DETECTOR.value, _CLASSIFIER.value),
            batch_size=_BATCH_SIZE.value,
        )
    print(f"{_OUT.value}: {count} images detected now")
