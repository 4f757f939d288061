"""The inputs of a run on the shapes world: built if missing, left alone if there, and readable by the data factory."""

import dataclasses
import pathlib
import shutil
import threading

import pytest

from irg_jax.core.config.schema import replaced
from irg_jax.core.errors import UserError
from irg_jax.core.locks import locked
from irg_jax.data import factory, modes, tokenizer
from irg_jax.data.config import (
    BudgetConfig,
    DataConfig,
    DropoutConfig,
    ImageSizeConfig,
    MixtureEntry,
    SourceConfig,
    WorldConfig,
)
from irg_jax.data.conversation import Image, Text
from irg_jax.data.factory import CONVERSATIONS
from irg_jax.data.sources.trajectories import open_source
from irg_jax.worlds.shapes.base import folders
from irg_jax.worlds.shapes.prepare import prepare
from irg_jax.worlds.shapes.world import make_trajectory
from tests import tiny

FULL_MODES = ("initial_full_learning", "improving_full_learning")


WORLD = WorldConfig(seed=3, train=40, held_out=6, vocab=400)


def data_config(folder, **changes):
    values = dict(
        sources={"shapes": SourceConfig("irgl", str(folder / "shapes"), WORLD)}, tokenizer=str(folder / "tokenizer"),
        seed=0, mixture=tuple(MixtureEntry("shapes", mode, 1.0, True) for mode in FULL_MODES), initial_target="draft",
        thinking1="plan", on_error="stop", resize="exact", workers=0, buffer_gb=0.1,
        dropout=DropoutConfig(), batch_size=2, rows_per_pack=2, max_sample_tokens=600,
        budgets=BudgetConfig(und=600, gen=64, vit=32, images=3), threads=1,
        vae_image=ImageSizeConfig(max_size=32, min_size=32), vit_image=ImageSizeConfig(max_size=32, min_size=32),
    )  # fmt: skip
    return DataConfig(**(values | changes))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    config = data_config(tmp_path_factory.mktemp("run"))
    prepare(config)
    return config


def modification_times(config, *sources):
    built = (config.tokenizer, *(config.sources[name].dir for name in sources or ("shapes",)))
    return {path: path.stat().st_mtime_ns for folder in map(pathlib.Path, built) for path in folder.iterdir()}


def test_the_data_set_and_a_tokenizer_of_its_training_texts_are_built(prepared, tmp_path):
    assert [len(open_source(prepared.sources["shapes"].dir, split)) for split in ("train", "held_out")] == [40, 6]
    texts = [modes.INITIAL_QUESTION, modes.IMPROVING_QUESTION]
    for record in (make_trajectory(3, "train", index) for index in range(40)):
        texts += [record.prompt, record.thinking1, record.thinking2]
    expected = tokenizer.train(texts, 400, tmp_path)
    assert (pathlib.Path(prepared.tokenizer) / "tokenizer.json").read_bytes() == (
        expected.directory / "tokenizer.json"
    ).read_bytes()


def test_the_data_of_a_base_are_built_and_their_texts_are_learned_by_the_tokenizer(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "_LABELLED", {"train": 4, "held_out": 2})
    world = dataclasses.replace(WORLD, vocab=500, manners=("geneval", "oneig"))
    formats = {"understanding": "llava", "painting": "text_to_image", "editing": "editing"}
    sources = {name: SourceConfig(form, str(tmp_path / name), world) for name, form in formats.items()}
    config = data_config(tmp_path, sources=sources, mixture=(MixtureEntry("painting", "painting", 1.0, False),))
    prepare(config)
    assert all(len(CONVERSATIONS[source.format](source.dir)) == WORLD.train for source in sources.values())
    words = tokenizer.Tokenizer(config.tokenizer)
    assert len(words.encode("What is seen?")) <= 4 and len(words.encode(" northwest")) == 1
    before = modification_times(config, *sources)
    prepare(config)
    assert modification_times(config, *sources) == before


def test_preparing_again_changes_nothing(prepared):
    before = modification_times(prepared)
    prepare(prepared)
    assert modification_times(prepared) == before


def with_tokenizer(prepared, folder):
    """The same data set with a copy of its tokenizer, which may be changed."""
    shutil.copytree(prepared.tokenizer, folder)
    return dataclasses.replace(prepared, tokenizer=str(folder))


@pytest.mark.parametrize("kept", [0, 100])
def test_a_tokenizer_that_was_cut_is_trained_anew(prepared, tmp_path, caplog, kept):
    config, path = with_tokenizer(prepared, tmp_path / "t"), tmp_path / "t" / "tokenizer.json"
    whole = path.read_bytes()
    path.write_bytes(whole[:kept])
    (tmp_path / "t" / "vocab.json").write_text("")
    with caplog.at_level("INFO"):
        prepare(config)
    assert "t: its tokenizer.json is empty or cut" in caplog.text and "training a tokenizer" in caplog.text
    assert path.read_bytes() == whole
    assert (tmp_path / "t" / "vocab.json").read_text() != ""


def test_a_tokenizer_of_another_model_is_not_replaced(prepared, tmp_path):
    config = dataclasses.replace(prepared, tokenizer=str(tmp_path))
    for name in ("vocab.json", "merges.txt"):
        shutil.copyfile(tiny.BAGEL_TINY / "bagel" / name, tmp_path / name)
    with pytest.raises(UserError, match="vocab.json: belongs to another tokenizer"):
        prepare(config)
    assert (tmp_path / "vocab.json").read_bytes() == (tiny.BAGEL_TINY / "bagel" / "vocab.json").read_bytes()


def test_of_two_processes_that_train_a_tokenizer_one_waits(prepared, tmp_path, caplog):
    config = dataclasses.replace(prepared, tokenizer=str(tmp_path / "t"))
    second = threading.Thread(target=prepare, args=(config,))
    with caplog.at_level("INFO"), locked(config.tokenizer, "--test"):
        second.start()
        for _ in range(200):
            if "waiting for the process that writes there" in caplog.text:
                break
            second.join(0.1)
        assert second.is_alive() and not (tmp_path / "t" / "tokenizer.json").exists()
        for name in tokenizer.FILES[:4]:
            shutil.copyfile(pathlib.Path(prepared.tokenizer) / name, tmp_path / "t" / name)
    second.join(60)
    assert not second.is_alive()
    assert "training a tokenizer" not in caplog.text


def test_another_world_in_the_folder_is_refused(prepared):
    other = replaced(prepared, {"sources.shapes.world.seed": 4})
    with pytest.raises(UserError, match="holds .*seed3_train40_held_out6_size32_geneval, not .*seed4_"):
        prepare(other)


def test_without_a_world_nothing_is_built(tmp_path):
    prepare(replaced(data_config(tmp_path), {"sources.shapes.world": None}))
    assert not list(tmp_path.iterdir())


def test_the_factory_packs_the_prepared_data(prepared):
    rows = factory.make_packed_rows(prepared, tiny.CONFIG.geometry)
    assert rows.modes == list(FULL_MODES) and not rows.oversize
    assert all({key.partition(":")[0] for i in (0, 1) for key in rows.keys(2 * pack + i)} == set(FULL_MODES)
               for pack in range(4))  # fmt: skip


@pytest.mark.parametrize(("initial_target", "image"), [("draft", "image1"), ("good", "image2")])
@pytest.mark.parametrize("thinking1", ["plan", "none"])
def test_the_initial_target_and_thinking1_select_what_is_learned(prepared, initial_target, image, thinking1):
    config = dataclasses.replace(prepared, initial_target=initial_target, thinking1=thinking1)
    processor = factory.make_processor(config, tiny.CONFIG.geometry)
    conversation = factory.make_mixture(config, processor, "train")[0].source.read(5).conversations[0]
    trajectory = open_source(prepared.sources["shapes"].dir, "train")[5]
    thinking = trajectory.thinking1 if thinking1 == "plan" else "<think> </think>"
    target = Image(getattr(trajectory, image), need_loss=True)
    assert conversation.parts == (Text(trajectory.prompt), Text(thinking, need_loss=True), target)
