"""GenEval's rows, from detections in a file."""

from irg_jax.benchmarks.benchmark import FoundImages, PromptSet
from irg_jax.benchmarks.geneval.detections import check_places, read_detections, rows, rows_of_detections
from irg_jax.benchmarks.geneval.official_results import read_official_results
from irg_jax.evaluation.scoring.evidence import Evidence, Sources, needed_file, places

FILES = {
    "detections": "JSON lines of irg_jax.evaluate detect, or of a detector of your own",
    "official": "results.jsonl of the official scorer",
}


def score(prompts: PromptSet, found: FoundImages, sources: Sources) -> Evidence:
    """The decision on each image. Raises UserError for a file that is missing, damaged or of other prompts."""
    name = needed_file(sources, "geneval", *FILES)
    path = sources.files[name]
    if name == "official":
        correct, texts = read_official_results(path, prompts)
        own, detector = rows(prompts, correct), "official evaluate_images.py"
    else:
        detections = read_detections(path)
        own, detector = rows_of_detections(prompts, detections), detections.detector
        texts = dict(detections.prompts)
    return Evidence(
        rows=[row for row in own if (row.key, row.sample) in found.images],
        owed=places(prompts.items),
        problems=list(check_places(prompts, texts, path)),
        protocol={"detector": detector},
        comparable=name == "official" and prompts.version == "short",
    )
