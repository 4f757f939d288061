"""Images that are missing, too many, double, damaged or in a wrong grid: named, and never scored as bad ones."""

import io
import pathlib

import PIL.Image
import pytest

from tests.evaluation import scoring
from tests.evaluation.scoring import Case

FIRST = {
    "geneval": "00000/samples/0000.png",
    "wise": "1.png",
    "tiif": "color+2d/irg/short_description/0.png",
    "genai_bench": "irg/00000.jpeg",
    "oneig": "anime/irg/000.webp",
}
PLACE = {"geneval": ("00000", 0), "wise": ("1", 0), "tiif": ("color+2d/short/0", 0), "genai_bench": ("00000", 0),
         "oneig": ("anime/000", 0)}  # fmt: skip
EXTRA = {
    "geneval": "00000/samples/0004.png",
    "wise": "2.png",
    "tiif": "color+2d/irg/short_description/2.png",
    "genai_bench": "irg/00009.jpeg",
    "oneig": "anime/irg/001.webp",
}
# The same image under another name that stands for the same place. WISE and GenAI-Bench take one name only.
DOUBLE = {
    "geneval": "00000/samples/00000.png",
    "wise": "0001.png",
    "tiif": "color+2d/irg/short_description/0.jpg",
    "genai_bench": "irg/00000.png",
    "oneig": "anime/irg/000.png",
}
REMEDY = {
    ("wise", "duplicate"): "without leading zeros; rename it",
    ("genai_bench", "duplicate"): "convert it to a JPEG of that name",
    **{(name, "duplicate"): "keep one of them" for name in ("geneval", "tiif", "oneig")},
    **{(name, "unreadable"): "again" for name in FIRST},
    **{(name, "extra"): "remove it" for name in FIRST},
    ("geneval", "missing"): "is not there",
    ("wise", "missing"): "generate it",
    ("tiif", "missing"): "generate it",
    ("genai_bench", "missing"): "generate it",
    ("oneig", "missing"): "make the images",
    ("oneig", "wrong grid"): "2 x 2",
    ("oneig", "single image"): "2 x 2",
    ("oneig", "black cell"): "make the image again",
}
CASES = sorted(REMEDY)
# The command treats the images of all benchmarks alike; what is found in each layout is tested with it.
PARTIAL = [case for case in CASES if case[0] == "wise" or case[1] not in ("missing", "extra", "unreadable")]


def plant(case: Case, fault: str) -> str:
    """Puts a fault into the images; gives the name that has to be told."""
    first = case.images / FIRST[case.name]
    if fault == "missing":
        first.unlink()
    elif fault == "unreadable":
        first.write_bytes(first.read_bytes()[:-40])
    elif fault == "extra":
        first = case.images / EXTRA[case.name]
        first.write_bytes((case.images / FIRST[case.name]).read_bytes())
    elif fault == "duplicate":
        other = case.images / DOUBLE[case.name]
        other.write_bytes(first.read_bytes())
        return other.name
    else:
        first.write_bytes(change_grid(first, fault))
    return first.name


def change_grid(path: pathlib.Path, fault: str) -> bytes:
    grid = PIL.Image.open(path)
    if fault == "single image":
        grid = grid.crop((0, 0, grid.width // 2, grid.height // 2))
    elif fault == "wrong grid":
        row = PIL.Image.new("RGB", (2 * grid.width, grid.height // 2))  # four columns
        for left, top in ((0, 0), (grid.width, grid.height // 2)):
            row.paste(grid.crop((0, top, grid.width, top + grid.height // 2)), (left, 0))
        grid = row
    else:
        grid.paste((0, 0, 0), (0, 0, grid.width // 2, grid.height // 2))
    file = io.BytesIO()
    grid.save(file, "WEBP", lossless=True)
    return file.getvalue()


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    """The images of each benchmark, which tests copy."""
    root = tmp_path_factory.mktemp("intact")
    return {name: Case(root / name, name) for name in FIRST}


@pytest.fixture(scope="module")
def server():
    with scoring.serve() as running:
        yield running


@pytest.mark.parametrize(("name", "fault"), CASES)
def test_a_fault_is_named_before_a_judge_is_asked(capfd, tmp_path, intact, server, name, fault):
    case = intact[name].copy(tmp_path)
    told = plant(case, fault)
    asked = len(server.questions)
    outcome = scoring.run(capfd, *case.flags(server))
    assert outcome.status == 2 and told in outcome.error and REMEDY[name, fault] in outcome.error, outcome
    assert "--allow_partial scores what is there, and says so" in outcome.error
    assert not outcome.printed and not case.is_scored
    assert len(server.questions) == asked


@pytest.mark.parametrize(("name", "fault"), PARTIAL)
def test_with_allow_partial_what_is_left_is_scored_under_its_own_name(capfd, tmp_path, intact, server, name, fault):
    case = intact[name].copy(tmp_path)
    told = plant(case, fault)
    outcome = scoring.run(capfd, *case.flags(server, "--allow_partial"))
    assert outcome.status == 0, outcome
    scores = case.scores()
    assert any(told in problem["where"] + problem["reason"] for problem in scores["problems"])
    assert any(told in line for line in outcome.lines)
    # Where two files could be the image, neither is taken; a file that can be none of the images changes nothing.
    stays = fault == "extra" or (fault == "duplicate" and name in ("wise", "genai_bench"))
    assert (PLACE[name] in {(row["key"], row["sample"]) for row in scores["rows"]}) == stays
    assert not scores["complete"] and scores["scored_items"] < scores["expected_items"]
    # OneIG-Bench has no overall without all of its five metrics.
    shown = [figure for figure in scores["figures"] if "overall" in figure]
    of = f"overall of {scores['scored_items']} of {scores['expected_items']} prompts"
    assert all(figure.endswith(of) for figure in shown) and bool(shown) == (name != "oneig")
    assert all(of in line for line in outcome.printed if "overall" in line)
