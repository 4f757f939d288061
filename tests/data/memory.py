"""Streams rows of 1024-pixel JPEGs through worker processes for a while, and says how the memory grows.

    python -m tests.data.memory --minutes 30

Makes its own data set. Prints the resident memory of the main process and of its workers every few minutes.
"""

import argparse
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
import PIL.Image

from irg_jax.core.geometry import TokenGeometry
from irg_jax.data import factory, modes
from irg_jax.data.config import (
    BudgetConfig,
    DataConfig,
    DropoutConfig,
    ImageSizeConfig,
    MixtureEntry,
    SourceConfig,
)
from irg_jax.data.pipeline import Batches
from tests import commands, tiny

GEOMETRY = TokenGeometry(
    vocab=152064, vae_stride=16, latent_patch=2, latent_channels=16, max_latent_size=64, vit_patch=14,
    vit_patches_per_side=70,
)  # fmt: skip
SIDE, RECORDS = 1024, 48


def jpeg(rng: np.random.Generator) -> bytes:
    """A picture with the smooth areas and the detail of a photo, so that its JPEG has the size of one."""
    coarse = PIL.Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)).resize((SIDE, SIDE), PIL.Image.BICUBIC)
    pixels = np.asarray(coarse, np.int16) + rng.normal(0, 6, (SIDE, SIDE, 1))
    file = io.BytesIO()
    PIL.Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
    return file.getvalue()


def build(folder: pathlib.Path) -> pathlib.Path:
    """A data set of trajectories with two pictures each."""
    rng, lines = np.random.default_rng(0), []
    (folder / "in").mkdir()
    for number in range(RECORDS):
        names = [f"{number}_{which}.jpg" for which in (1, 2)]
        for name in names:
            (folder / "in" / name).write_bytes(jpeg(rng))
        words = " ".join(f"word{i % 97}" for i in range(int(rng.integers(80, 600))))
        texts = {
            "prompt": f"prompt {number}",
            "thinking1": f"<think>{words}</think>",
            "thinking2": f"<think>{words}</think>",
        }
        lines.append(json.dumps(texts | {"image1": names[0], "image2": names[1]}))
    (folder / "in" / "records.jsonl").write_text("\n".join(lines) + "\n")
    line = [f"--from=records:{folder / 'in' / 'records.jsonl'}", f"--out={folder / 'data'}"]
    done = commands.run("build_data", "irgl", *line)
    assert done.returncode == 0, done.stderr
    return folder / "data"


def config(data: pathlib.Path, workers: int) -> DataConfig:
    """Stage 1 of the 7B model, on this data set."""
    mixture = tuple(MixtureEntry("irgl", mode, 1.0, False) for mode in modes.MODES)
    return DataConfig(
        sources={"irgl": SourceConfig("irgl", str(data))}, mixture=mixture, tokenizer=str(tiny.BAGEL_TINY / "bagel"),
        seed=0, initial_target="good", thinking1="plan", dropout=DropoutConfig(vae=0.3), batch_size=1, rows_per_pack=8,
        budgets=BudgetConfig(24064, 15872, 22528, 12), max_sample_tokens=32768, vae_image=ImageSizeConfig(1024, 512),
        vit_image=ImageSizeConfig(980, 378), threads=1, on_error="stop", resize="exact", workers=workers, buffer_gb=1.0,
    )  # fmt: skip


def resident(process: int) -> float:
    """MiB."""
    pages = int(pathlib.Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    """Streams, and prints a line now and then."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        rows = factory.make_packed_rows(config(build(pathlib.Path(name)), arguments.workers), GEOMETRY)
        began = shown = time.monotonic()
        with Batches(rows, 10**9, batch_size=1, offsets=(0,), workers=arguments.workers, buffer_gb=1.0) as batches:
            for number, _ in enumerate(batches, start=1):
                now = time.monotonic()
                if now - shown >= min(180, arguments.minutes * 6) or now - began >= arguments.minutes * 60:
                    shown = now
                    children = subprocess.run(
                        ["pgrep", "-P", str(os.getpid())], capture_output=True, text=True, check=False
                    ).stdout.split()
                    workers = [resident(int(child)) for child in children if pathlib.Path(f"/proc/{child}").exists()]
                    told = ", ".join(f"{memory:.0f}" for memory in workers)
                    print(
                        f"{(now - began) / 60:5.1f} min  {number:6} rows  main {resident(os.getpid()):.0f} MiB  "
                        f"workers {told} MiB",
                        flush=True,
                    )
                if now - began >= arguments.minutes * 60:
                    break


if __name__ == "__main__":
    sys.exit(main())
