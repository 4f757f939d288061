"""OneIG-Bench's prompt file: ``OneIG-Bench.csv``, 1,120 English prompts in five categories.

From the data set OneIG-Bench/OneIG-Bench and OneIG-Bench/OneIG-Benchmark@41b4983. Its ids count from 000 in each
category, so that a key has both: ``anime/000``.
"""

import csv
import io
import re
from pathlib import Path

from irg_jax.benchmarks.benchmark import Item, PromptSet
from irg_jax.benchmarks.files import digest_of_files, digest_of_values
from irg_jax.core.errors import UserError
from irg_jax.core.small_files import read_given_text

NAME = "oneig"
TITLE = "OneIG-Bench"
SAMPLES = 4
ITEMS = 1120

# The categories of the file, and the folders of the official layout.
CATEGORIES = {
    "Anime_Stylization": "anime",
    "Portrait": "human",
    "General_Object": "object",
    "Text_Rendering": "text",
    "Knowledge_Reasoning": "reasoning",
}

_COLUMNS = ("category", "id", "prompt_en", "type", "prompt_length", "class")
# SHA-256 of what the official file says, whatever its line ends and quotes.
_ENGLISH = "f554981e4084f1925581f37e6f41ecfb3e71b2982a8d3b48f6b344093fb98c70"


def read_prompts(path: Path) -> PromptSet:
    """Reads the prompt file: version ``en``, or ``custom`` for any other one with the same columns.

    The category of an item is its official folder: anime, human, object, text or reasoning. A custom file, also a part
    of the official one, still has ``official_items`` 1120.

    Raises:
      UserError: it cannot be read, lacks a column, or has a row with an unknown category, an id that is not three
        digits or is there already, or without a prompt; it names the row.
    """
    rows = read_table(path, _COLUMNS)
    items: dict[str, Item] = {}
    for number, row in enumerate(rows, start=1):
        where = f"{path}: row {number}"
        if row["category"] not in CATEGORIES:
            known = ", ".join(CATEGORIES)
            raise UserError(f"{where}: category is {row['category']!r:.60}; give the English file with {known}")
        if not re.fullmatch(r"[0-9]{3}", row["id"]):
            raise UserError(
                f"{where}: id is {row['id']!r:.40}; write three digits, as a text if a table program is used"
            )
        if not row["prompt_en"].strip():
            raise UserError(f"{where}: prompt_en is empty; write a prompt")
        category = CATEGORIES[row["category"]]
        key = f"{category}/{row['id']}"
        if key in items:
            raise UserError(f"{where}: {row['category']} {row['id']} is there already; give each prompt its own id")
        items[key] = Item(key, row["prompt_en"], category, SAMPLES, row)
    version = "en" if digest_of_values(rows) == _ENGLISH else "custom"
    return PromptSet(NAME, version, tuple(items.values()), digest_of_files([path]), ITEMS)


def read_table(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """The rows of a CSV file with a header.

    Raises:
      UserError: it cannot be read, has no row or lacks a column.
    """
    text = read_given_text(path, "prompts")
    reader = csv.DictReader(io.StringIO(text, newline=""), restval="")
    try:
        rows = [{name: value for name, value in row.items() if isinstance(name, str)} for row in reader]
    except csv.Error as error:
        raise UserError(f"{path}: line {reader.line_num} is not CSV ({error}); export it again") from error
    missing = [name for name in columns if name not in (reader.fieldnames or ())]
    if missing:
        raise UserError(f"{path}: has no column {', '.join(missing)}; give the file of OneIG-Bench as it is")
    if not rows:
        raise UserError(f"{path}: has no rows; give the file of OneIG-Bench as it is")
    return rows
