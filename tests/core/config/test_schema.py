"""A mapping becomes a tree of frozen dataclasses; keys and types that do not belong are named by their full key."""

import dataclasses
import pathlib
from typing import Literal, NamedTuple

import pytest

import irg_jax
from irg_jax.core.config.files import from_json, to_json
from irg_jax.core.config.schema import dataclass_from_mapping, did_you_mean, leaves, replaced, resolve
from irg_jax.core.errors import ConfigError, check


@dataclasses.dataclass(frozen=True)
class Circle:
    radius: float
    kind: Literal["circle"] = "circle"


@dataclasses.dataclass(frozen=True)
class Square:
    side: float
    kind: Literal["square"] = "square"


class Row(NamedTuple):
    name: str
    weight: float


@dataclasses.dataclass(frozen=True)
class Inner:
    rate: float
    schedule: Literal["constant", "cosine"]

    def __post_init__(self) -> None:
        check(self.rate > 0, "rate", f"{self.rate} must be > 0")


@dataclasses.dataclass(frozen=True)
class Outer:
    steps: int
    folder: str
    flag: bool
    optim: Inner
    shape: Circle | Square
    rows: tuple[Row, ...]
    size: tuple[int, int]
    lora: Inner | None


VALUES = {
    "steps": 3,
    "folder": "{workdir}/data",
    "flag": True,
    "optim": {"rate": 1, "schedule": "cosine"},
    "shape": {"kind": "square", "side": 2.0},
    "rows": [["a", 1], ("b", 0.5)],
    "size": (4, 5),
    "lora": None,
}
BUILT = Outer(
    3, "{workdir}/data", True, Inner(1.0, "cosine"), Square(2.0), (Row("a", 1.0), Row("b", 0.5)), (4, 5), None
)


def test_a_mapping_becomes_the_tree():
    built = dataclass_from_mapping(Outer, VALUES)
    assert built == BUILT
    assert type(built.optim.rate) is float, "an int may stand for a float, and becomes one"


def test_json_gives_the_same_tree_back():
    assert dataclass_from_mapping(Outer, from_json(to_json(BUILT))) == BUILT


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stepz": 1}, "config.stepz: unknown key; did you mean steps?; allowed here: steps, folder, "),
        ({"steps": 1.0}, "config.steps: 1.0 is not an int"),
        ({"steps": True}, "config.steps: True is not an int"),
        ({"flag": 1}, "config.flag: 1 is not a bool"),
        ({"folder": None}, "config.folder: None is not a str"),
        ({"optim": 3}, "config.optim: 3 is not a section; it has the keys rate, schedule"),
        ({"optim": {"rate": "fast", "schedule": "cosine"}}, "config.optim.rate: 'fast' is not a float"),
        ({"optim": {"rate": 0.0, "schedule": "cosine"}}, "config.optim.rate: 0.0 must be > 0"),
        ({"optim": {"rate": 1.0}}, "config.optim.schedule: missing key"),
        (
            {"optim": {"rate": 1.0, "schedule": "cosin"}},
            "config.optim.schedule: 'cosin' is not one of constant, cosine; did you mean cosine?",
        ),
        ({"shape": {"kind": "cirle", "radius": 1.0}}, "config.shape.kind: 'cirle' is not one of circle, square"),
        ({"shape": {"kind": "circle", "side": 1.0}}, "config.shape.side: unknown key"),
        ({"rows": [("a",)]}, "config.rows: ('a',) must be (name, weight)"),
        ({"rows": [("a", "b")]}, "config.rows: 'b' is not a float"),
        ({"rows": "ab"}, "config.rows: 'ab' is not a tuple"),
        ({"size": (1,)}, "config.size: (1,) must be a tuple of 2"),
        ({"lora": {"rate": 1.0, "schedule": 1}}, "config.lora.schedule: 1 is not one of"),
    ],
)
def test_a_wrong_key_or_value_is_named_by_its_full_key(change, message):
    with pytest.raises(ConfigError) as error:
        dataclass_from_mapping(Outer, VALUES | change)
    assert str(error.value).startswith(message)


def test_a_section_of_a_larger_config_is_named_by_where_it_is():
    with pytest.raises(ConfigError, match=r"config\.data\.optim\.rate: -1\.0 must be > 0"):
        dataclass_from_mapping(Inner, {"rate": -1.0, "schedule": "cosine"}, "data.optim")


def test_workdir_is_filled_in_everywhere_in_a_copy():
    resolved = resolve(BUILT, "/runs/7")
    assert resolved.folder == "/runs/7/data" and BUILT.folder == "{workdir}/data"
    assert dataclasses.replace(resolved, folder=BUILT.folder) == BUILT


def test_package_is_the_folder_of_the_installed_package_wherever_the_run_is():
    config = dataclasses.replace(BUILT, folder="{package}/pretrained/{workdir}/{other}")
    folder = resolve(config, "/runs/{package}").folder
    package = pathlib.Path(irg_jax.__file__).parent
    assert folder == f"{package}/pretrained//runs/{{package}}/{{other}}", "what is filled in is left as it is"
    assert (package / "core" / "config" / "schema.py").is_file()


def test_leaves_and_replaced_use_dotted_keys():
    assert dict(leaves(BUILT))["optim.schedule"] == "cosine"
    changed = replaced(BUILT, {"optim.rate": 2.0, "steps": 9})
    assert (changed.optim.rate, changed.steps, BUILT.optim.rate) == (2.0, 9, 1.0)


@pytest.mark.parametrize(
    ("typo", "nearest"),
    [("learning_rate", "lr"), ("lrr", "lr"), ("warmup_step", "warmup_steps"), ("nonsense", "")],
)
def test_the_nearest_key_is_found_by_letters_or_by_initials(typo, nearest):
    hint = did_you_mean(typo, ["lr", "warmup_steps", "weight_decay"])
    assert hint == (f"; did you mean {nearest}?" if nearest else "")
