"""OneIG-Bench's prompt file: the official one is known, others are custom, and every fault has its row."""

from collections import Counter

import pytest

from irg_jax.benchmarks import oneig
from irg_jax.core.errors import UserError
from tests.benchmarks import official
from tests.benchmarks.oneig.small import COLUMNS, KEYS, ROWS, read_prompts, write_table


def test_the_official_file():
    prompts = oneig.read_prompts(official.path("oneig/OneIG-Bench.csv"))
    assert (prompts.benchmark, prompts.version, prompts.images) == ("oneig", "en", 4480)
    assert len(prompts.items) == prompts.official_items == 1120
    counts = {"anime": 245, "human": 244, "object": 206, "text": 200, "reasoning": 225}
    assert Counter(item.category for item in prompts.items) == counts


def test_a_custom_file(tmp_path):
    prompts = read_prompts(tmp_path)
    assert prompts.version == "custom" and [item.key for item in prompts.items] == KEYS
    item = prompts.items[0]
    assert (item.prompt, item.category, item.samples) == ("a drawn cat", "anime", 4)
    assert item.entry == dict(zip(COLUMNS, ROWS[0], strict=True))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("Multilingualism", "000", "x", "", "", ""), "row 6: category is 'Multilingualism'"),
        (("Portrait", "1", "x", "", "", ""), "row 6: id is '1'; write three digits"),
        (("Portrait", "001", " ", "", "", ""), "row 6: prompt_en is empty"),
        (("Portrait", "000", "x", "", "", ""), "row 6: Portrait 000 is there already"),
    ],
)
def test_a_wrong_row(tmp_path, row, message):
    with pytest.raises(UserError, match=message):
        read_prompts(tmp_path, [*ROWS, row])


def test_another_file(tmp_path):
    columns = [name.replace("prompt_en", "prompt_cn") for name in COLUMNS]
    with pytest.raises(UserError, match="has no column prompt_en"):
        oneig.read_prompts(write_table(tmp_path / "chinese.csv", columns, ROWS))
    with pytest.raises(UserError, match="has no rows"):
        oneig.read_prompts(write_table(tmp_path / "empty.csv", COLUMNS, []))
