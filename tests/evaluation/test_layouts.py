"""The layouts of both turns, as a strict reader that knows only the official repositories finds them."""

import hashlib
import io
import json
import pathlib
import shutil

import numpy as np
import PIL.Image
import pytest

from irg_jax.data.images import encode_png
from irg_jax.evaluation.benchmarks import BENCHMARKS
from irg_jax.evaluation.generate import write_layouts
from irg_jax.evaluation.run import BenchmarkRun, samples
from tests.evaluation.official_layouts import READERS, LayoutError
from tests.evaluation.small_benchmarks import MODEL, WRITERS

WIDTH, HEIGHT = 48, 32  # not square, so that swapped sides are seen
COUNTS = {"geneval": 12, "wise": 6, "tiif": 8, "genai_bench": 4, "oneig": 24}
LOSS = {"genai_bench": 3, "oneig": 8}  # levels, of a picture of one colour; the others keep every pixel


def colour(prompt: str, sample: int, turn: int) -> tuple[int, ...]:
    """Another one for each image, never near black."""
    return tuple(64 + byte % 160 for byte in hashlib.sha256(f"{prompt} {sample} {turn}".encode()).digest()[:3])


def png(prompt: str, sample: int, turn: int) -> bytes:
    return encode_png(np.full((HEIGHT, WIDTH, 3), colour(prompt, sample, turn), np.uint8))


@pytest.fixture(scope="module", params=list(BENCHMARKS))
def run(request, tmp_path_factory):
    """The name of a benchmark, its prompts, and the folders of both turns, written as after generating."""
    root = tmp_path_factory.mktemp(request.param)
    benchmark = BENCHMARKS[request.param]
    (root / "data").mkdir()
    path = WRITERS[request.param](root / "data")
    prompts = benchmark.read_prompts(path)
    out = root / "run"
    for item, number in samples(prompts):
        folder = out / "images" / item.key / str(number)
        folder.mkdir(parents=True)
        for turn in (1, 2):
            (folder / f"turn{turn}.png").write_bytes(png(item.prompt, number, turn))
    described = BenchmarkRun(
        request.param, prompts.version, str(path), prompts.digest, prompts.images, MODEL, "", 0, "", 2, 0, {}
    )
    folders = write_layouts(benchmark, prompts, described, out)
    # The same again changes nothing: a command that is resumed writes what is missing.
    assert write_layouts(benchmark, prompts, described, out) == folders
    return request.param, path, folders


def test_each_turn_has_the_official_names_formats_and_grids(run):
    name, prompts, folders = run
    for turn, folder in enumerate(folders, start=1):
        found = READERS[name](prompts, folder, MODEL)
        assert len(found) == COUNTS[name]
        for (prompt, sample), image in found.items():
            assert image.size == (WIDTH, HEIGHT), (prompt, sample)
            off = np.abs(np.asarray(image, int)[4:-4, 4:-4] - colour(prompt, sample, turn)).max()
            assert off <= LOSS.get(name, 0), (prompt, sample, turn)


def spoil(folder: pathlib.Path, name: str, fault: str) -> None:
    images = sorted(path for path in folder.rglob("*") if path.suffix in (".png", ".jpeg", ".webp"))
    first = images[0]
    content = first.read_bytes()
    if fault == "hidden file":
        (first.parent / f".{first.name}.123").write_bytes(content)
    elif fault == "other extension":
        first.rename(first.with_suffix(".jpg"))
    elif fault == "other padding":
        first.rename(first.with_name(f"0{first.name}"))
    elif fault == "other format":
        other = io.BytesIO()
        PIL.Image.open(io.BytesIO(content)).save(other, "BMP")
        first.write_bytes(other.getvalue())
    elif fault == "other mode":
        form = PIL.Image.open(io.BytesIO(content)).format
        PIL.Image.new("L" if form == "JPEG" else "RGBA", (WIDTH, HEIGHT)).save(first, form)
    elif fault == "missing":
        first.unlink()
    elif fault == "empty folder":
        (folder / "00099").mkdir()


FAULTS = ("hidden file", "other extension", "other padding", "other format", "other mode", "missing", "empty folder")


@pytest.mark.parametrize("fault", FAULTS)
def test_the_reader_is_strict(run, tmp_path, fault):
    name, prompts, folders = run
    shutil.copytree(folders[0], tmp_path / "layout")
    spoil(tmp_path / "layout", name, fault)
    with pytest.raises(LayoutError):
        READERS[name](prompts, tmp_path / "layout", MODEL)


def test_the_reader_looks_into_metadata_and_grids(tmp_path):
    benchmark, other = BENCHMARKS["geneval"], BENCHMARKS["oneig"]
    for name in ("geneval", "oneig"):
        (tmp_path / name).mkdir()
    lines, table = WRITERS["geneval"](tmp_path / "geneval"), WRITERS["oneig"](tmp_path / "oneig")
    benchmark.write_layout(
        benchmark.read_prompts(lines), lambda item, n: png(item.prompt, n, 1), tmp_path / "a", model=MODEL
    )
    metadata = tmp_path / "a" / "00001" / "metadata.jsonl"
    metadata.write_text(json.dumps(json.loads(metadata.read_text()) | {"tag": "colors"}))
    with pytest.raises(LayoutError, match="is not the line"):
        READERS["geneval"](lines, tmp_path / "a", MODEL)

    def one_is_black(item, sample):
        return encode_png(np.full((HEIGHT, WIDTH, 3), 0 if sample == 3 else 200, np.uint8))

    other.write_layout(other.read_prompts(table), one_is_black, tmp_path / "b", model=MODEL)
    with pytest.raises(LayoutError, match="cell 3 is black"):
        READERS["oneig"](table, tmp_path / "b", MODEL)
