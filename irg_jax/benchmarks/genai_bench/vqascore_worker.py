"""Runs t2v_metrics for ``local_vqascore``, in an environment that has that package and not this one.

It is started as a file, ``python vqascore_worker.py MODEL DEVICE CACHE_DIR``, by Python 3.10 or newer, and imports
nothing of irg_jax. Each line of its input is an object with ``pairs``, as ``batch_forward`` takes them, ``question``
and ``answer``; each line of its output one with ``value`` or ``error``. The first output is the version of the package.

The calls are those of t2v_metrics 3.0 and of its script ``genai_bench/evaluate.py``: ``VQAScore(model, device,
cache_dir)`` and ``batch_forward(dataset, batch_size, **templates)``, which gives [pairs, images, texts]. That version
scores one pair after the other whatever the batch size.
"""

import importlib.metadata
import json
import os
import sys


def main() -> int:
    """Answers until the input ends; the status is 1 after an error."""
    # The package and its dependencies print; the output is for answers only.
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    # This folder has modules whose names others may use, such as prompts and layout.
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [path for path in sys.path if os.path.abspath(path or ".") != here]
    try:
        value = _load(*sys.argv[1:])
        for answer in value:
            print(json.dumps({"value": answer}), file=output, flush=True)
    except Exception as error:  # whatever the package raises is for the other process to tell
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}), file=output, flush=True)
        return 1
    return 0


def _load(name, device, cache_dir):  # type: ignore[no-untyped-def]
    """The version, then the scores of each line of the input."""
    import t2v_metrics

    model = t2v_metrics.VQAScore(model=name, device=device, cache_dir=cache_dir)
    yield _version()
    for line in sys.stdin:
        asked = json.loads(line)
        scores = model.batch_forward(
            asked["pairs"],
            batch_size=len(asked["pairs"]),
            question_template=asked["question"],
            answer_template=asked["answer"],
        )
        yield [score[0][0] for score in scores.tolist()]


def _version() -> str:
    try:
        return importlib.metadata.version("t2v_metrics")
    except importlib.metadata.PackageNotFoundError:
        return "of unknown version"


if __name__ == "__main__":
    sys.exit(main())
