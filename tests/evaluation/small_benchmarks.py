"""A few prompts of the shapes world in the official format of each benchmark, and the images that answer them."""

import csv
import json
import pathlib

from irg_jax.data.images import encode_png
from irg_jax.worlds.shapes.objects import PlacedObject
from tests.worlds.shapes.drawing import good

MODEL = "irg"
RED, BLUE = PlacedObject("red", "circle", "northwest"), PlacedObject("blue", "square", "southeast")
GREEN = PlacedObject("green", "triangle", "northeast")
SCENES = {
    "a red circle": [RED],
    "a blue square": [BLUE],
    "a green triangle": [GREEN],
    "a red circle and a blue square": [RED, BLUE],
    "a green triangle and a blue square": [GREEN, BLUE],
    "a circle above a square": [
        PlacedObject("red", "circle", "northwest"),
        PlacedObject("blue", "square", "southwest"),
    ],
}
PROMPTS = list(SCENES)
QUESTIONS = {
    "a red circle": ("Is there a red circle?", "Is there a square?"),
    "a blue square": ("Is there a blue square?", "Is there a circle?"),
}


def answer(prompt: str) -> bytes:
    """A PNG that shows what the prompt asks for."""
    return encode_png(good(SCENES[prompt.removeprefix("draw ")]))


def geneval(folder: pathlib.Path) -> pathlib.Path:
    """A file of JSON lines, of three tasks."""
    entries = [
        {"tag": "single_object", "include": [{"class": "clock", "count": 1}], "prompt": PROMPTS[0]},
        {
            "tag": "counting",
            "include": [{"class": "orange", "count": 3}],
            "exclude": [{"class": "orange", "count": 4}],
            "prompt": PROMPTS[1],
        },
        {
            "tag": "position",
            "include": [{"class": "sink", "count": 1}, {"class": "tie", "count": 1, "position": ["above", 0]}],
            "prompt": PROMPTS[2],
        },
    ]
    return _lines(folder / "evaluation_metadata.jsonl", entries)


def wise(folder: pathlib.Path) -> pathlib.Path:
    """The folder of three files, one prompt of each category; ids as in the legacy version."""
    categories = ("Cultural knowledge", "time", "Space", "Biology", "Physical Knowledge", "Chemistry")
    entries = [
        {"Prompt": prompt, "Explanation": prompt, "Category": category, "Subcategory": "any", "prompt_id": number}
        for prompt, category, number in zip(PROMPTS, categories, (1, 401, 568, 701, 801, 1000), strict=True)
    ]
    files = ("cultural_common_sense", "spatio-temporal_reasoning", "natural_science")
    for name, own in zip(files, (entries[:1], entries[1:3], entries[3:]), strict=True):
        (folder / f"{name}.json").write_text(json.dumps(own), "utf-8")
    return folder


def tiif(folder: pathlib.Path) -> pathlib.Path:
    """``my_prompts`` with ``my_eval_prompts`` beside it: two attributes of one line, and one of two."""
    chosen = {"color+2d": list(QUESTIONS), "text": [PROMPTS[2]], "2d_spatial_relation": [PROMPTS[3]]}
    for attribute, texts in chosen.items():
        own = [{"type": attribute, "short_description": text, "long_description": f"draw {text}"} for text in texts]
        asked = [
            {
                "type": attribute,
                "yn_question_list": [f" {question}  " for question in QUESTIONS.get(text, ("Is there an object?",))],
                "yn_answer_list": ["Yes", "no"] if text in QUESTIONS else ["yes"],
            }
            for text in texts
        ]
        _lines(folder / "my_prompts" / f"{attribute}_prompts.jsonl", own)
        _lines(folder / "my_eval_prompts" / f"{attribute}_eval_prompts.jsonl", asked)
    return folder / "my_prompts"


def genai_bench(folder: pathlib.Path) -> pathlib.Path:
    """``genai_image.json`` with the skills beside it; the last prompt has none."""
    entries = {f"{number:05d}": {"id": f"{number:05d}", "prompt": PROMPTS[number], "models": {}} for number in range(4)}
    basic = ("attribute", "scene", "spatial relation", "action relation", "part relation")
    advanced = ("counting", "comparison", "differentiation", "negation", "universal")
    skills: dict[str, list[int]] = {name: [] for name in ("basic", *basic, "advanced", *advanced)}
    skills |= {"basic": [0, 1], "attribute": [0, 1], "scene": [1], "advanced": [2], "counting": [2]}
    (folder / "genai_image.json").write_text(json.dumps(entries), "utf-8")
    (folder / "genai_skills.json").write_text(json.dumps(skills), "utf-8")
    return folder


def oneig(folder: pathlib.Path) -> pathlib.Path:
    """``OneIG-Bench.csv`` with the questions and texts beside it; ids start again in each category."""
    categories = ("Anime_Stylization", "Anime_Stylization", "Portrait", "General_Object", "Text_Rendering",
                  "Knowledge_Reasoning")  # fmt: skip
    ids = ("000", "017", "000", "000", "000", "000")
    rows = [[*row, "NP", "short", ""] for row in zip(categories, ids, PROMPTS, strict=True)]
    _table(folder / "OneIG-Bench.csv", ["category", "id", "prompt_en", "type", "prompt_length", "class"], rows)
    _table(folder / "text_content.csv", ["id", "text_content"], [["000", "['open']"]])
    # Questions and dependencies are JSON in a text, as in the official files.
    texts = {"1": "Is there an object?", "2": "Is there a blue circle?"}
    entry = {"question": json.dumps(texts), "dependency": json.dumps({"1": [0], "2": [1]})}
    (folder / "Q_D").mkdir()
    for name, own in (("anime", ("000", "017")), ("human", ("000",)), ("object", ("000",))):
        (folder / "Q_D" / f"{name}.json").write_text(json.dumps(dict.fromkeys(own, entry)), "utf-8")
    return folder / "OneIG-Bench.csv"


WRITERS = {"geneval": geneval, "wise": wise, "tiif": tiif, "genai_bench": genai_bench, "oneig": oneig}


def _lines(path: pathlib.Path, entries: list[dict]) -> pathlib.Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries), "utf-8")
    return path


def _table(path: pathlib.Path, columns: list[str], rows: list[list[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])
