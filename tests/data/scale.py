"""Start, memory and planning on an index of 300,000 trajectories in six modes, with made-up lengths.

    python -m tests.data.scale --records 300000

The figures in docs/data.md are from it.
"""

import argparse
import json
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np
from irg_jax.configs import template

from irg_jax.core.geometry import TokenGeometry
from irg_jax.data import modes
from irg_jax.data.config import DropoutConfig
from irg_jax.data.images import ImageTransform
from irg_jax.data.index.trajectories import DTYPE, ModeSamples
from irg_jax.data.packing.layout import Budgets
from irg_jax.data.packing.planner import Snapshot
from irg_jax.data.pipeline import MixtureSource, PackedRows
from irg_jax.data.processor import Processor
from irg_jax.data.tokenizer import Tokenizer

TOKENIZER = pathlib.Path(__file__).parent / "bagel_tiny" / "bagel"
GEOMETRY = TokenGeometry(
    vocab=152064, vae_stride=16, vit_patch=14, max_latent_size=64, vit_patches_per_side=70, latent_patch=2,
    latent_channels=16,
)  # fmt: skip
BUDGETS = Budgets(und=24064, gen=15872, vit=22528, images=12, image_size=(1024, 1024), vit_patch=588)


def rows(count, seed=0):
    """Index rows: pictures of 512 to 1024 pixels, prompts of 15 to 90 tokens, thinking of 100 to 900."""
    rng = np.random.default_rng(seed)
    made = np.zeros(count, DTYPE)
    made["record"] = np.arange(count)
    made["prompt"] = rng.integers(15, 91, count)
    made["initial_question"], made["improving_question"] = made["prompt"] + 8, made["prompt"] + 11
    made["thinking1"], made["thinking2"] = rng.integers(100, 500, count), rng.integers(200, 900, count)
    sizes = rng.integers(512, 1025, (count, 2))
    longest = rng.integers(0, 2, count)
    sizes[np.arange(count), longest] = np.where(rng.random(count) < 0.5, 1024, sizes[np.arange(count), longest])
    made["image1"] = made["image2"] = sizes
    made["crc"] = rng.integers(0, 2**32, count)
    return made


class Unread:
    """A source of which nothing is read."""

    files, kind = (), "none"


def processor():
    return Processor(Tokenizer(TOKENIZER), ImageTransform(1024, 512, 16), ImageTransform(980, 378, 14))


def packed(index):
    """The six modes with the published weights over an index file."""
    table, words = np.load(index, mmap_mode="r"), processor()
    mixture = [
        MixtureSource(name, weight, mandatory, Unread(), ModeSamples(table, modes.learning_mode(name), words))
        for _, name, weight, mandatory in template.six_modes("irgl")
    ]
    return PackedRows(
        mixture, processor=words, budgets=BUDGETS, max_sample_tokens=32768, dropout=DropoutConfig(vae=0.3),
        rows_per_pack=8, seed=0, geometry=GEOMETRY,
    )  # fmt: skip


def measure(index, far):
    """Figures of a fresh process."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start, cpu = time.monotonic(), time.process_time()
    made = packed(index)
    figures = {"start, s": time.monotonic() - start, "start, CPU s": time.process_time() - cpu}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    figures |= {"memory, MiB": peak / 1024, "of which before the start, MiB": before / 1024}
    start = time.process_time()
    used = np.array([np.sum([sample.cost for sample in made.plan.row(i)], axis=0)[:2] for i in range(far)])
    spent = time.process_time() - start
    figures["planning, rows/CPU s"], figures["planning, tokens/CPU s"] = far / spent, float(used.sum() / spent)
    figures["fill"] = (used.mean(0) / [BUDGETS.und, BUDGETS.gen]).tolist()
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    figures[f"memory after {far} rows, MiB"] = after / 1024
    state = json.loads(json.dumps(made.state(far - 1)))
    figures["state in a checkpoint, bytes"] = len(json.dumps(state))
    wanted = made.plan.row(far - 1)
    start = time.process_time()
    made.plan = made._plan(start=Snapshot.from_json(state["plan"]))
    assert made.plan.row(far - 1) == wanted
    figures["a row after a resume, CPU s"] = time.process_time() - start
    return figures


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--records", type=int, default=300_000)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--index", help="an index file, to be measured in this process")
    arguments = parser.parse_args()
    if arguments.index:
        print(json.dumps(measure(arguments.index, arguments.rows)))
        return
    with tempfile.TemporaryDirectory() as folder:
        index = pathlib.Path(folder) / "rows.npy"
        np.save(index, rows(arguments.records))
        size = index.stat().st_size
        command = [sys.executable, "-m", "tests.data.scale", f"--index={index}", f"--rows={arguments.rows}"]
        found = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    print(f"{arguments.records} records, {size / arguments.records:.1f} bytes per record")
    for name, value in json.loads(found).items():
        print(f"{name:<32} {value}")


if __name__ == "__main__":
    main()
