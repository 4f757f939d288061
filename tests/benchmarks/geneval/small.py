"""A small prompt file of GenEval's format, and images for it."""

import io
import json

import PIL.Image

from irg_jax.benchmarks import geneval

ENTRIES = [
    {"tag": "single_object", "include": [{"class": "cat", "count": 1}], "prompt": "one cat, please"},
    {
        "tag": "counting",
        "include": [{"class": "dog", "count": 2}],
        "exclude": [{"class": "dog", "count": 3}],
        "prompt": "two dogs, please",
    },
    {
        "tag": "color_attr",
        "include": [{"class": "car", "count": 1, "color": "red"}, {"class": "bus", "count": 1, "color": "blue"}],
        "prompt": "a red car and a blue bus, please",
    },
    {
        "tag": "position",
        "include": [{"class": "tie", "count": 1}, {"class": "cup", "count": 1, "position": ["above", 0]}],
        "prompt": "a cup above a tie, please",
    },
]


def write_prompts(path, entries=ENTRIES):
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")
    return path


def read_prompts(folder):
    return geneval.read_prompts(write_prompts(folder / "prompts.jsonl"))


def png(shade, size=(24, 16)):
    file = io.BytesIO()
    PIL.Image.new("RGB", size, (shade, 100, 50)).save(file, "PNG")
    return file.getvalue()


def image(item, sample):
    return png(10 * int(item.key) + sample)
