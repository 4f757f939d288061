"""The data of ``epoch``: made up trajectories, each of which says its number, built as a user would; and their rows."""

import dataclasses
import io
import json
import pathlib
import re
import subprocess
import sys

import numpy as np
import PIL.Image

from irg_jax.data import factory
from irg_jax.data.config import BudgetConfig, DataConfig, DropoutConfig, ImageSizeConfig, MixtureEntry, SourceConfig
from irg_jax.data.modes import MODES
from irg_jax.data.pipeline import PackedRows
from tests import commands, tiny

EDGE = 64  # of the pictures
_PICTURES = 256  # different ones
_WORDS = ("a red bench in the park under old trees", "two children feed small birds", "bread", "with", "where")
_NUMBER = re.compile(r"record (\d+):")


def write_input(folder: pathlib.Path, records: int, seed: int) -> str:
    """Writes trajectories with texts of many lengths as ``build_data`` reads them; returns its --from."""
    rng = np.random.default_rng(seed)
    folder.mkdir()
    for i in range(_PICTURES):
        file = io.BytesIO()
        coarse = PIL.Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8))
        coarse.resize((EDGE, EDGE), PIL.Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
        (folder / f"{i}.jpg").write_bytes(file.getvalue())

    def text(fewest: int, most: int) -> str:
        return " ".join(rng.choice(_WORDS, int(rng.integers(fewest, most))))

    with open(folder / "in.jsonl", "w") as file:
        for i in range(records):
            images = {name: f"{rng.integers(_PICTURES)}.jpg" for name in ("image1", "image2")}
            texts = {"thinking1": text(5, 60), "thinking2": text(5, 60)}
            file.write(json.dumps({"key": str(i), "prompt": f"record {i}: {text(2, 12)}", **texts, **images}) + "\n")
    return f"records:{folder / 'in.jsonl'}"


def build(source: str, out: pathlib.Path, python: str = sys.executable, *flags: str) -> None:
    """Builds the data set (TFDS, ArrayRecord); with the flags of Beam, in a Python that has it."""
    line = [python, "-m", "irg_jax.build_data", "irgl", f"--from={source}", f"--out={out}", *flags]
    subprocess.run(line, cwd=commands.ROOT, env=commands.environment(), check=True, stdout=subprocess.DEVNULL)


def open_rows(folder: pathlib.Path) -> PackedRows:
    """All six modes of the data set in equal shares."""
    geometry = dataclasses.replace(tiny.CONFIG.geometry, max_latent_size=EDGE // 8, vit_patches_per_side=EDGE // 8)
    size = ImageSizeConfig(max_size=EDGE, min_size=EDGE)
    config = DataConfig(
        sources={"made": SourceConfig("irgl", str(folder))},
        tokenizer=str(tiny.BAGEL_TINY / "bagel"),
        seed=0,
        mixture=tuple(MixtureEntry("made", mode, 1.0, False) for mode in MODES),
        initial_target="good",
        thinking1="plan",
        dropout=DropoutConfig(vae=0.3),  # no text, which says what a sample is
        batch_size=1,
        rows_per_pack=1,
        budgets=BudgetConfig(und=2560, gen=512, vit=704, images=8),
        max_sample_tokens=2560,
        vae_image=size,
        vit_image=size,
        on_error="stop",
        resize="exact",
        workers=0,
        threads=1,
        buffer_gb=0.1,
    )
    return factory.make_packed_rows(config, geometry)


def seen(rows: PackedRows, und: dict[str, np.ndarray]) -> list[tuple[int, int]]:
    """What a row holds, sorted: (mode, number of the record) of each sample; from its tokens, not from the plan."""
    words = rows.reader.processor.tokenizer
    used = und["position"] >= 0
    found = []
    for mode in range(len(rows.modes)):
        text = words.decode(und["ids"][used & (und["mode"] == mode)])
        found += [(mode, int(number)) for number in _NUMBER.findall(text)]
    return sorted(found)
