"""A small prompt file of OneIG-Bench's format, and images for it."""

import csv
import io

import PIL.Image

from irg_jax.benchmarks import oneig

COLUMNS = ("category", "id", "prompt_en", "type", "prompt_length", "class")
ROWS = [
    ("Anime_Stylization", "000", "a drawn cat", "NP", "short", "Pixel art"),
    ("Anime_Stylization", "001", "a drawn dog", "T, P", "short", ""),
    ("Portrait", "000", "a person, who smiles", "NP", "middle", ""),
    ("Text_Rendering", "000", 'a sign with "open"', "NP", "long", "poster"),
    ("Knowledge_Reasoning", "007", "why is the sky blue", "NP", "short", "physics"),
]
KEYS = ["anime/000", "anime/001", "human/000", "text/000", "reasoning/007"]


def write_table(path, columns, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


def read_prompts(folder, rows=ROWS):
    return oneig.read_prompts(write_table(folder / "prompts.csv", COLUMNS, rows))


def png(color, size=(32, 24)):
    file = io.BytesIO()
    PIL.Image.new("RGB", size, color).save(file, "PNG")
    return file.getvalue()


def color(item, sample):
    return (40 * KEYS.index(item.key) + 20, 60 * sample + 20, 90)


def image(item, sample):
    return png(color(item, sample))
