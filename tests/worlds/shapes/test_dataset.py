"""The data set on disk: records are read back unchanged, and a damaged or foreign folder is an error that names it."""

import dataclasses
import json
import os
import pathlib
import pickle
import subprocess
import sys
import textwrap

import grain
import pytest

from irg_jax.core import storage
from irg_jax.core.errors import StorageError, UserError
from irg_jax.data.sources.trajectories import open_source
from irg_jax.data.trajectory import content_hash
from irg_jax.worlds.shapes.dataset import build
from irg_jax.worlds.shapes.world import make_trajectory

ARGUMENTS = {"seed": 3, "train": 40, "held_out": 6}


def run(*arguments):
    """Runs Python in its own process, with this repository on the path."""
    environment = os.environ | {"PYTHONPATH": str(pathlib.Path(__file__).parents[3])}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment)


def run_code(code):
    return run("-c", textwrap.dedent(code))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    directory = tmp_path_factory.mktemp("sets") / "shapes"
    build(directory, **ARGUMENTS)
    return directory


@pytest.fixture
def own(tmp_path):
    """A data set that the test may damage."""
    directory = tmp_path / "shapes"
    build(directory, **ARGUMENTS)
    return directory


def records_of(directory, split):
    (path,) = directory.glob(f"*-{split}.array_record*")
    return path


@pytest.mark.parametrize(("split", "count"), [("train", 40), ("held_out", 6)])
def test_records_are_read_back_in_order_and_byte_for_byte(whole, split, count):
    source = open_source(whole, split)
    assert len(source) == count
    assert [source[index] for index in range(count)] == [make_trajectory(3, split, index) for index in range(count)]


def test_the_size_of_the_pictures_is_one_of_the_arguments(tmp_path):
    build(tmp_path / "large", **ARGUMENTS, size=64)
    assert open_source(tmp_path / "large", "train")[3] == make_trajectory(3, "train", 3, size=64)
    with pytest.raises(UserError, match="holds .*_size64_geneval, not .*_size32_geneval"):
        build(tmp_path / "large", **ARGUMENTS)


def test_records_have_their_source_licence_and_hash(whole):
    record = open_source(whole, "train")[0]
    assert (record.source, record.licence, record.hash) == ("shapes", "Apache-2.0", content_hash(record))


def test_a_source_pickles_and_feeds_grain(whole):
    source = open_source(whole, "train")
    assert pickle.loads(pickle.dumps(source))[7] == source[7]
    assert grain.MapDataset.source(source).map(lambda record: record.key)[7] == "train/000007"
    for outside in (-1, 40):
        with pytest.raises(IndexError):
            source[outside]


def test_building_again_with_the_same_arguments_changes_nothing(whole):
    before = {path: path.stat().st_mtime_ns for path in whole.iterdir()}
    build(whole, **ARGUMENTS)
    assert {path: path.stat().st_mtime_ns for path in whole.iterdir()} == before


def test_building_with_other_arguments_names_both_data_sets(whole):
    with pytest.raises(UserError, match=f"{whole}: holds .*seed3_train40_held_out6_size32_geneval, not .*seed4_"):
        build(whole, **{**ARGUMENTS, "seed": 4})


def test_a_folder_with_other_files_is_left_unchanged(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=f"{tmp_path}: no data set here"):
        build(tmp_path, **ARGUMENTS)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("changed", [{"seed": -1}, {"train": 0}, {"held_out": 0}])
def test_arguments_out_of_range_are_refused(tmp_path, changed):
    with pytest.raises(UserError, match="seed is 0 or more"):
        build(tmp_path / "shapes", **{**ARGUMENTS, **changed})


def test_a_killed_build_is_not_taken_for_a_complete_one(tmp_path):
    directory = tmp_path / "shapes"
    killed = run_code(f"""
        import os, signal
        from irg_jax.worlds.shapes import dataset
        from irg_jax.worlds.shapes.tfds_shapes import builder
        make = builder.make_trajectory
        def make_or_die(seed, split, *rest):
            if split == "held_out":
                os.kill(os.getpid(), signal.SIGKILL)
            return make(seed, split, *rest)
        builder.make_trajectory = make_or_die
        dataset.build({str(directory)!r}, seed=3, train=40, held_out=6)
    """)
    assert killed.returncode == -9
    assert (tmp_path / ".shapes.partial").exists()
    with pytest.raises(UserError, match="no data set here"):
        open_source(directory, "train")
    build(directory, **ARGUMENTS)
    assert len(open_source(directory, "train")) == 40
    assert not (tmp_path / ".shapes.partial").exists()


def test_tensorflow_is_never_imported(tmp_path):
    done = run_code(f"""
        import sys
        from irg_jax.data.sources.trajectories import open_source
        from irg_jax.worlds.shapes.dataset import build
        build({str(tmp_path / "shapes")!r}, seed=0, train=2, held_out=1)
        open_source({str(tmp_path / "shapes")!r}, "train")[1]
        assert "tensorflow" not in sys.modules
        assert "jax" not in sys.modules
    """)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("name", ["absent", ""])
def test_a_missing_or_empty_folder_is_refused(tmp_path, name):
    with pytest.raises(UserError, match=r"no data set here.*build it"):
        open_source(tmp_path / name, "train")


def test_an_unknown_split_lists_the_known_ones(whole):
    with pytest.raises(UserError, match="no split 'test'; use one of held_out, train"):
        open_source(whole, "test")


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.999])
def test_a_truncated_file_is_named(own, kept):
    path = records_of(own, "train")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(UserError, match=f"{path}: truncated, 0 of 40 records.*build it again"):
        open_source(own, "train")
    assert len(open_source(own, "held_out")) == 6


def test_a_damaged_record_is_named_when_it_is_read(own):
    path = records_of(own, "train")
    data = bytearray(path.read_bytes())
    data[100:2000] = bytes(1900)
    path.write_bytes(data)
    with pytest.raises(UserError, match=f"{path}: record 0 is damaged"):
        open_source(own, "train")[0]


def test_a_mount_may_be_gone_for_a_while(own, monkeypatch):
    source = open_source(own, "train")
    gone = own.rename(own.with_name("gone"))
    monkeypatch.setattr(storage, "sleep", lambda seconds: seconds == 8 and gone.rename(own))
    assert source[7] == make_trajectory(3, "train", 7)


def test_a_mount_that_stays_away_is_a_storage_error_that_names_the_record(own, monkeypatch):
    source = open_source(own, "train")
    path = records_of(own, "train")
    path.unlink()
    monkeypatch.setattr(storage, "sleep", lambda seconds: None)
    with pytest.raises(StorageError, match=rf"^{path}: record 7 cannot be read \(No such file or directory\), tried 7"):
        source[7]


def test_a_reader_that_has_failed_is_opened_again(own, monkeypatch):
    source = open_source(own, "train")
    kind, left = type(source._records._source), [1, 2]
    read = kind.__getitem__

    def failing(records, index):
        if left:
            left.pop()
            raise RuntimeError(f"read() failed: Input/output error; reading {own}")
        return read(records, index)

    monkeypatch.setattr(kind, "__getitem__", failing)
    monkeypatch.setattr(storage, "sleep", lambda seconds: None)
    before = source._records._source
    assert source[7] == make_trajectory(3, "train", 7)
    assert source._records._source is not before


def test_a_url_is_refused_because_the_format_cannot_be_read_from_it():
    for use in (lambda url: open_source(url, "train"), lambda url: build(url, **ARGUMENTS)):
        with pytest.raises(UserError, match="gs://bucket/shapes is a URL, .*mount the bucket or copy"):
            use("gs://bucket/shapes")


def test_a_missing_file_and_broken_metadata_are_named(own):
    path = records_of(own, "train")
    path.unlink()
    with pytest.raises(UserError, match=f"{path}: missing"):
        open_source(own, "train")
    (own / "features.json").write_text("{")
    with pytest.raises(UserError, match=r"features\.json: not JSON"):
        open_source(own, "held_out")


OTHER_WORLD = """
import dataclasses
import sys
import tensorflow_datasets as tfds
from irg_jax.worlds.shapes.world import make_trajectory

class Other(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("2.0.0")
    TEXTS = {texts}

    def _info(self):
        features = {{name: tfds.features.Text() for name in self.TEXTS}}
        features |= {{name: tfds.features.Image() for name in ("image1", "image2")}}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {{"every": self._generate_examples()}}

    def _generate_examples(self):
        for index in range(5):
            record = dataclasses.asdict(make_trajectory(0, "train", index))
            yield index, {{name: record[name] for name in (*self.TEXTS, "image1", "image2")}}

builder = Other(data_dir=sys.argv[1], file_format="array_record")
builder.download_and_prepare()
"""


def other_world(tmp_path, texts):
    script = tmp_path / "other" / "other.py"  # TFDS reads the folder around a builder
    script.parent.mkdir()
    script.write_text(OTHER_WORLD.format(texts=texts))
    done = run(str(script), str(tmp_path / "data"))
    assert done.returncode == 0, done.stderr
    return tmp_path / "data" / "other" / "2.0.0"


def test_another_data_set_with_the_same_features_opens(tmp_path):
    source = open_source(other_world(tmp_path, ("key", "prompt", "thinking1", "thinking2")), "every")
    expected = {f"train/{index:06d}": make_trajectory(0, "train", index) for index in range(5)}
    missing = dict.fromkeys(("source", "licence", "hash", "scene"), "")
    for index in range(5):
        assert source[index] == dataclasses.replace(expected[source[index].key], **missing)


def test_a_data_set_without_the_features_is_refused(tmp_path):
    directory = other_world(tmp_path, ("key",))
    assert "key" in json.loads((directory / "features.json").read_text())["featuresDict"]["features"]
    with pytest.raises(UserError, match="features prompt are missing"):
        open_source(directory, "every")
