"""``evaluate measure``: the packages are called as they want it, and the files are what ``score`` reads."""

import json
import sys

import numpy as np
import PIL.Image
import pytest

from irg_jax.benchmarks import genai_bench, oneig
from irg_jax.benchmarks.genai_bench.vqascore import read_rows
from irg_jax.benchmarks.oneig.score_files import read_scores
from irg_jax.benchmarks.oneig.similarity import diversity_rows
from irg_jax.data import images
from tests.benchmarks import stub_packages
from tests.benchmarks.genai_bench import prompts as genai_prompts
from tests.benchmarks.oneig import small
from tests.commands import run_here

GREYS = {"00000": 51, "00001": 102, "00002": 153, "00003": 204, "00004": 255}


@pytest.fixture
def t2v_metrics(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(stub_packages.write_t2v_metrics(tmp_path / "packages")))


@pytest.fixture
def dreamsim(monkeypatch):
    module = stub_packages.dreamsim()
    monkeypatch.setitem(sys.modules, "torch", stub_packages.torch())
    monkeypatch.setitem(sys.modules, "dreamsim", module)
    return module


@pytest.fixture
def genai(tmp_path):
    """Prompts and images, whose grey is the score that the stand-in gives."""
    prompts = genai_prompts.read(tmp_path)
    genai_bench.write_layout(
        prompts, lambda item, _: small.png((GREYS[item.key],) * 3), tmp_path / "images", model="irg"
    )
    return prompts


@pytest.fixture
def one(tmp_path):
    """Prompts of OneIG-Bench, and images with a pattern of their own."""
    prompts = small.read_prompts(tmp_path)

    def image(item, sample):
        seed = np.random.default_rng([small.KEYS.index(item.key), sample])
        return images.encode_png(seed.integers(1, 255, (2, 2, 3), np.uint8).repeat(16, 0).repeat(16, 1))

    oneig.write_layout(prompts, image, tmp_path / "images", model="irg")
    return prompts


def run(capfd, tmp_path, metric, *flags):
    prompts = {"vqascore": "genai_image.json", "dreamsim": "prompts.csv"}[metric]
    return run_here(
        capfd, "evaluate", "measure", f"--metric={metric}", f"--prompts={tmp_path / prompts}", "--model=irg",
        f"--images={tmp_path / 'images'}", f"--out={tmp_path / 'values.json'}", "--device=cpu",
        f"--weights={tmp_path / 'weights'}", *flags,
    )  # fmt: skip


def test_vqascores_are_measured_once_and_scored(capfd, tmp_path, t2v_metrics, genai):
    done = run(capfd, tmp_path, "vqascore", "--batch_size=3")
    assert done.returncode == 0, done.stderr
    assert "4 prompts measured now, 4 of 5 in all" in done.stdout  # the fifth has no skill
    rows = {row.key: row.values["score"] for row in read_rows(genai, tmp_path / "values.json")}
    assert rows == pytest.approx({key: grey / 255 for key, grey in GREYS.items() if key != "00004"}, abs=1e-3)
    head = json.loads((tmp_path / "values.jsonl").read_text().splitlines()[0])
    assert head["protocol"].startswith("clip-flant5-xxl through t2v_metrics of unknown version, question 'Does this")
    again = run(capfd, tmp_path, "vqascore", f"--python={tmp_path}/none")  # not needed any more
    assert again.returncode == 0 and "0 prompts measured now, 4 of 5" in again.stdout
    scored = run_here(
        capfd, "evaluate", "score", "--benchmark=genai_bench", f"--images={tmp_path / 'images'}", "--model=irg",
        f"--prompts={tmp_path / 'genai_image.json'}", f"--out={tmp_path / 'scores'}", "--allow_partial",
        f"--file=vqascores={tmp_path / 'values.json'}",
    )  # fmt: skip
    assert scored.returncode == 0 and "overall of 4 of 1600 prompts" in scored.stdout, scored.stderr
    protocol = json.loads((tmp_path / "scores/turn1/scores.json").read_text())["protocol"]
    assert protocol["scorer"] == f"VQAScores from a file by {head['protocol']}"


def test_distances_are_those_of_the_model_and_are_measured_once(capfd, tmp_path, dreamsim, one):
    done = run(capfd, tmp_path, "dreamsim", "--batch_size=2", "--device=cuda:1")
    assert done.returncode == 0, done.stderr
    assert dreamsim.calls == [(True, "cuda:1", True, "ensemble", False)] and dreamsim.model.batches == [8, 8, 4]
    distances = read_scores(tmp_path / "values.json", one.items)
    found = oneig.find_images(one, tmp_path / "images", model="irg")
    for item in one.items:
        cells = [dreamsim.preprocess(images.decode(found.images[item.key, n](), "")) for n in range(4)]
        pairs = [dreamsim.model(a, b)[0] for n, a in enumerate(cells) for b in cells[n + 1 :]]
        assert distances[item.key] == pytest.approx(pairs, abs=1e-5)
        assert diversity_rows(item, distances[item.key])[0].values["diversity"] == pytest.approx(
            np.mean(pairs), abs=1e-5
        )
    assert run(capfd, tmp_path, "dreamsim").returncode == 0
    assert len(dreamsim.calls) == 1  # nothing was left to measure


def test_missing_images_are_named_and_have_no_distances(capfd, tmp_path, dreamsim, one):
    (tmp_path / "images/human/irg/000.webp").unlink()
    done = run(capfd, tmp_path, "dreamsim")
    assert done.returncode == 0 and "missing: " in done.stderr and "human/irg/000.webp" in done.stderr
    distances = read_scores(tmp_path / "values.json", one.items)
    assert [key for key, values in distances.items() if not values] == ["human/000"]


def test_a_black_cell_is_in_no_pair(capfd, tmp_path, dreamsim, one):
    path = tmp_path / "images/anime/irg/001.webp"
    with PIL.Image.open(path) as grid:
        black = grid.convert("RGB")
    black.paste((0, 0, 0), (0, 0, 32, 32))
    black.save(path, lossless=True)
    done = run(capfd, tmp_path, "dreamsim")
    assert done.returncode == 0 and "cell 0 is black" in done.stderr
    counts = {key: len(values) for key, values in read_scores(tmp_path / "values.json", one.items).items()}
    assert counts == dict.fromkeys(small.KEYS, 6) | {"anime/001": 3}


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--model=bagel"], "has no images of bagel to measure; check --model, too"),
        (["--device=cuda"], "(RuntimeError: No CUDA GPUs are available)"),
        (["--python=/none/python"], "--python: /none/python cannot be started (No such file or directory)"),
        ([f"--out={__file__}"], "does not end in .json"),
    ],
)
def test_vqascore_says_what_is_wrong(capfd, tmp_path, t2v_metrics, genai, flags, reason):
    done = run(capfd, tmp_path, "vqascore", *flags)
    assert done.returncode == 2 and reason in done.stderr and not (tmp_path / "values.json").exists()


@pytest.mark.parametrize(
    ("prompt", "reason"),
    [
        ("fail", "clip-flant5-xxl failed at 00002 (MemoryError: too large)"),
        ("nan", "00002: the model gives nan, not 0"),
    ],
)
def test_what_was_measured_before_a_failure_is_kept(capfd, tmp_path, t2v_metrics, genai, prompt, reason):
    entries = genai_prompts.entries()
    entries["00002"]["prompt"] = prompt
    genai_prompts.write(tmp_path, entries)
    done = run(capfd, tmp_path, "vqascore", "--batch_size=1")
    assert done.returncode == 2 and reason in done.stderr
    assert len((tmp_path / "values.jsonl").read_text().splitlines()) == 1 + 2


def test_without_t2v_metrics_it_says_how_to_get_it(capfd, tmp_path, genai):
    done = run(capfd, tmp_path, "vqascore")
    assert done.returncode == 2 and "(ModuleNotFoundError: No module named 't2v_metrics')" in done.stderr
    assert "install t2v-metrics==3.0 in an environment of its own and give its interpreter with --python" in done.stderr


def test_a_worker_that_dies_is_named(capfd, tmp_path, genai):
    (tmp_path / "python").write_text("#!/bin/sh\nexit 7\n")
    (tmp_path / "python").chmod(0o755)
    done = run(capfd, tmp_path, "vqascore", f"--python={tmp_path / 'python'}")
    assert done.returncode == 2 and "the process ended with status 7; install t2v-metrics==3.0" in done.stderr


def test_without_dreamsim_it_names_the_extra(capfd, tmp_path, monkeypatch, one):
    monkeypatch.setitem(sys.modules, "torch", stub_packages.torch())
    monkeypatch.setitem(sys.modules, "dreamsim", None)
    done = run(capfd, tmp_path, "dreamsim")
    assert done.returncode == 2 and "DreamSim needs dreamsim; pip install 'irg-jax[dreamsim]'" in done.stderr


def test_dreamsim_says_what_is_wrong(capfd, tmp_path, dreamsim, one):
    done = run(capfd, tmp_path, "dreamsim", "--device=cuda")
    assert done.returncode == 2 and "DreamSim cannot be loaded (RuntimeError: No CUDA GPUs" in done.stderr
    done = run(capfd, tmp_path, "dreamsim", "--python=python3")
    assert done.returncode == 2 and "--python: is for --metric vqascore; leave it out" in done.stderr
    dreamsim.model.embed = lambda img: stub_packages.Tensor(np.full((len(img.array), 3), np.nan))
    done = run(capfd, tmp_path, "dreamsim")
    assert done.returncode == 2 and "embeddings that are no numbers for anime/000, anime/001" in done.stderr
