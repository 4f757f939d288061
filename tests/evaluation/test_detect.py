"""The detect command: bad images are named, and two commands do not write to one file."""

import pytest

from irg_jax.core.locks import locked
from irg_jax.evaluation.commands import detect
from tests.evaluation import scoring
from tests.evaluation.scoring import Case


@pytest.fixture
def case(tmp_path, monkeypatch):
    monkeypatch.setattr(detect, "load_detector", lambda *_: lambda images: [[] for _ in images])
    monkeypatch.setattr(detect, "load_classifier", lambda *_: None)
    return Case(tmp_path / "case", "geneval")


def run(capfd, case, out):
    return scoring.run(capfd, "detect", f"--images={case.images}", f"--prompts={case.path}", f"--out={out}")


def test_bad_images_are_named_and_the_others_are_detected(capfd, case, tmp_path):
    (case.images / "00001" / "samples" / "0002.png").unlink()
    outcome = run(capfd, case, tmp_path / "seen.jsonl")
    assert outcome.status == 0 and outcome.printed == [f"{tmp_path / 'seen.jsonl'}: 11 images detected now"]
    assert any("missing" in line and "00001/samples/0002.png" in line for line in outcome.lines)


def test_a_folder_without_images(capfd, case, tmp_path):
    case.images = tmp_path / "nothing"
    outcome = run(capfd, case, tmp_path / "seen.jsonl")
    assert outcome.status == 2 and f"--images: {case.images} has no image of these prompts" in outcome.error


def test_two_commands_do_not_write_to_one_file(capfd, case, tmp_path):
    with locked(tmp_path / "seen.jsonl", "--out", beside=True):
        outcome = run(capfd, case, tmp_path / "seen.jsonl")
    assert outcome.status == 2 and "--out: another process is writing to" in outcome.error
    assert not (tmp_path / "seen.jsonl").exists()
