"""The configs, the commands and the table of docs/data.md are those of this code."""

import re
import shlex
from typing import get_args, get_type_hints

import pytest

from irg_jax import build_data
from irg_jax.core.config.files import load
from irg_jax.data import modes
from irg_jax.data.config import SourceConfig
from irg_jax.data.importing.kinds import KINDS
from irg_jax.experiment.config import parse_config
from tests import commands

PAGE = (commands.ROOT / "docs/data.md").read_text(encoding="utf-8")
CONFIGS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = [
    shlex.split(line)[2:]
    for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    for line in block.replace("\\\n", " ").splitlines()
]


@pytest.mark.parametrize("number", range(len(CONFIGS)))
def test_a_config_is_whole(number, tmp_path):
    (tmp_path / "mine.py").write_text(CONFIGS[number])
    assert parse_config(load(tmp_path / "mine.py")).data.mixture


def test_the_example_of_a_mixture_has_the_sources_that_it_names(tmp_path):
    (tmp_path / "mine.py").write_text(CONFIGS[1])
    data = parse_config(load(tmp_path / "mine.py")).data
    assert {entry.source for entry in data.mixture} == set(data.sources)
    assert sum(entry.weight for entry in data.mixture if entry.source == "irgl") == 4.0
    assert [entry[1:3] for entry in data.mixture[6:]] == [("text_to_image", 1.0), ("understanding", 0.5)]


@pytest.mark.parametrize("words", [words for words in COMMANDS if words[0] == "irg_jax.build_data"], ids=" ".join)
def test_a_command_of_build_data_has_flags_of_its_action(words):
    _, action, *rest = words
    build_data.FLAGS.unparse_flags()
    build_data.FLAGS.set_gnu_getopt(True)
    folders = build_data.FLAGS(["build_data", *rest])[1:]
    own = {flag.name for flag in build_data.ACTIONS[action]}
    assert {name for name in build_data.FLAGS if build_data.FLAGS[name].present} <= own
    assert len(folders) == (action == "stats")
    assert action == "stats" or build_data.FLAGS["from"].value.partition(":")[0] in KINDS


@pytest.mark.parametrize("words", [words for words in COMMANDS if words[0] == "irg_jax.train"], ids=" ".join)
def test_a_command_of_train_passes_its_check(words, tmp_path, capfd):
    (tmp_path / "pictures.py").write_text(CONFIGS[0])
    given = [str(tmp_path / word) if word == "pictures.py" else word for word in words[1:]]
    done = commands.run_here(capfd, "train", *given, "--check_only", "--devices=4")
    assert done.returncode == 0, done.stderr


def test_all_commands_are_looked_at():
    assert {words[0] for words in COMMANDS} == {"irg_jax.build_data", "irg_jax.train"} and len(COMMANDS) == 7


def test_the_table_of_modes_has_the_fields_that_they_need():
    rows = dict(re.findall(r"^\| `(\w+_learning)` \| (.*) \|$", PAGE, re.MULTILINE))
    assert {name: set(re.findall(r"\w+", fields)) for name, fields in rows.items()} == {
        name: modes.required_fields(modes.learning_mode(name)) for name in modes.MODES
    }


def test_the_tables_have_every_kind_of_input_and_every_format():
    assert set(re.findall(r"^\| `(\w+):", PAGE, re.MULTILINE)) == set(KINDS)
    formats = get_args(get_type_hints(SourceConfig)["format"])
    assert [name for name in formats if not re.search(rf"^\| `{name}` \|", PAGE, re.MULTILINE)] == []
