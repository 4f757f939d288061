"""The index: what it says of a record is what the record is, it is made once, and another one for anything else."""

import json
import shutil
import threading

import numpy as np
import pytest

from irg_jax.core.errors import UserError
from irg_jax.data import factory, modes
from irg_jax.data.conversation import Conversation, Record
from irg_jax.data.index import conversations, scan, store, trajectories
from irg_jax.data.index.conversations import ConversationSamples
from irg_jax.data.index.trajectories import DTYPE, ModeSamples
from irg_jax.data.packing import layout
from irg_jax.data.rejected import use_without
from irg_jax.data.sources.trajectories import open_source
from irg_jax.data.tokenizer import Tokenizer
from irg_jax.worlds.shapes import dataset
from tests import tiny
from tests.data.test_factory import CONFIG


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "shapes"
    dataset.build(folder, seed=3, train=40, held_out=6)
    return folder


@pytest.fixture
def own(shapes, tmp_path):
    return shutil.copytree(shapes, tmp_path / "shapes", ignore=shutil.ignore_patterns(".index"))


def counts(folder, split="train", tokenizer=None):
    return scan.index_trajectories(open_source(folder, split), split, tokenizer or tiny.processor().tokenizer)


@pytest.mark.parametrize("name", modes.MODES)
@pytest.mark.parametrize("variant", [{}, {"initial_target": "draft"}, {"thinking1": "none"}])
def test_the_segments_of_a_trajectory_follow_from_its_index_row(shapes, name, variant):
    source, processor = open_source(shapes, "train"), tiny.processor()
    mode = modes.learning_mode(name, **variant)
    samples = ModeSamples(counts(shapes).arrays["rows"], mode, processor)
    assert samples.records.tolist() == list(range(40))
    for index in range(0, 40, 7):
        trajectory, crc = source.read(index)
        segments = layout.segments(modes.conversation(trajectory, mode), processor)
        assert samples.segments(index) == segments and samples.crcs[index] == crc
        assert samples.costs[index].tolist() == np.sum([s.cost for s in segments], axis=0).tolist()


def test_the_segments_of_any_conversation_follow_from_its_index_rows():
    processor, made = tiny.processor(), [tiny.conversation(seed, parts=7) for seed in range(20)]
    records = [(i, Record((made[i], made[i + 1]), crc=i)) for i in range(0, 20, 2)]
    found = conversations.describe(records, processor.tokenizer)
    samples = ConversationSamples(found.samples, found.parts, processor)
    assert samples.records.tolist() == [i // 2 * 2 for i in range(20)]
    assert samples.variants.tolist() == [0, 1] * 10
    for i, conversation in enumerate(made):
        segments = layout.segments(conversation, processor)
        assert samples.segments(i) == segments
        assert samples.costs[i].tolist() == np.sum([s.cost for s in segments], axis=0).tolist()


def test_a_record_is_in_the_modes_whose_fields_it_has():
    whole = tiny.trajectory(0)
    parts = [
        (0, whole, 0),
        (1, trajectories.Trajectory("text", "a prompt", thinking1="<think> a </think>"), 0),
        (2, trajectories.Trajectory("picture", "a prompt", image2=whole.image2), 0),
        (3, trajectories.Trajectory("two", "p", image1=whole.image1, thinking2="t", image2=whole.image2), 0),
    ]
    rows, rejected = trajectories.describe(parts, tiny.processor().tokenizer)
    assert not rejected
    found = {name: ModeSamples(rows, mode, tiny.processor()).records.tolist() for name, mode in modes.MODES.items()}
    assert found == {
        "initial_thinking_understanding_learning": [0],
        "initial_thinking_generation_learning": [0, 1],
        "initial_full_learning": [0],
        "improving_thinking_understanding_learning": [0, 3],
        "improving_thinking_generation_learning": [0],
        "improving_full_learning": [0],
    }


def test_a_text_longer_than_a_column_can_hold_fits_no_row():
    rows = np.zeros(1, DTYPE)
    rows["prompt"], rows["thinking1"] = 5, trajectories.MAX_TOKENS
    samples = ModeSamples(rows, modes.MODES["initial_thinking_generation_learning"], tiny.processor())
    assert samples.costs[0, 0] > 1 << 29


# --- files


def test_an_index_is_made_once_and_mapped(own, monkeypatch):
    first = counts(own)
    assert first.folder.parent == own / ".index" and isinstance(first.arrays["rows"], np.memmap)
    monkeypatch.setattr(trajectories, "describe", None)  # it is not read again
    np.testing.assert_array_equal(counts(own).arrays["rows"], first.arrays["rows"])
    assert first.arrays["rows"].dtype.itemsize == 26


def test_another_tokenizer_has_an_index_of_its_own(own, tmp_path):
    other = shutil.copytree(tiny.BAGEL_TINY / "bagel", tmp_path / "other")
    merges = json.loads((other / "tokenizer.json").read_text())
    merges["model"]["merges"] = merges["model"]["merges"][: len(merges["model"]["merges"]) // 2]
    (other / "tokenizer.json").write_text(json.dumps(merges))
    (other / "vocab.json").unlink(missing_ok=True)
    (other / "merges.txt").unlink(missing_ok=True)
    first, second = counts(own), counts(own, tokenizer=Tokenizer(other))
    assert first.folder != second.folder
    assert second.arrays["rows"]["thinking1"].sum() > first.arrays["rows"]["thinking1"].sum()


def test_where_the_data_cannot_be_written_to_the_index_is_in_the_cache(own, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (own / ".index").write_text("in the way")
    found = counts(own)
    assert (tmp_path / "cache" / "irg_jax" / "index") in found.folder.parents
    monkeypatch.setattr(trajectories, "describe", None)
    assert counts(own).folder == found.folder


def test_of_two_processes_one_makes_the_index_and_the_other_waits(own, monkeypatch):
    describe, calls = trajectories.describe, []

    def counted(*arguments):
        calls.append(1)
        return describe(*arguments)

    monkeypatch.setattr(trajectories, "describe", counted)
    threads = [threading.Thread(target=counts, args=(own,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1


def test_an_index_that_was_cut_is_named_with_the_remedy(own):
    folder = counts(own).folder
    (folder / "rows.npy").write_bytes(b"")
    with pytest.raises(UserError, match=f"{folder}: the index cannot be read .*remove the folder"):
        counts(own)


# --- rejected records


def damaged_index(tmp_path, bad=1, records=300):
    rejected = [store.Rejected(i, f"train/{i}", f"record train/{i}: an image cannot be decoded") for i in range(bad)]
    (tmp_path / store.REJECTED).write_text("")
    return store.StoredIndex(tmp_path, {}, rejected), records


def test_a_run_stops_at_records_that_cannot_be_used_and_says_where_they_are_listed(tmp_path):
    index, records = damaged_index(tmp_path, bad=3)
    with pytest.raises(UserError, match=f"^record train/0: .*3 records of 300 .*{tmp_path}/rejected.jsonl lists them"):
        use_without(index, records, "train", replaces=False)


def test_or_goes_on_without_a_few_of_them_by_name(tmp_path, caplog):
    index, records = damaged_index(tmp_path, bad=3)
    use_without(index, records, "train", replaces=True)
    assert "train: 3 of 300 records cannot be used and are left out" in caplog.text
    index, records = damaged_index(tmp_path, bad=4)
    with pytest.raises(UserError, match="train: 4 of 300 records cannot be used, more than 1%"):
        use_without(index, records, "train", replaces=True)


def test_one_bad_row_never_costs_the_index_of_the_rest(tmp_path):
    toy = shutil.copytree(
        CONFIG.sources["toy"].dir, tmp_path / "toy", ignore=shutil.ignore_patterns(".index", "*generation*")
    )
    mode = "initial_full_learning"
    source = factory.irgl.open_source(toy, mode)
    read = source.read

    class OneBad:
        files, kind = source.files, source.kind
        key = staticmethod(source.key)

        def __len__(self):
            return len(source)

        def read(self, index):
            if index == 3:
                raise UserError(f"record {source.key(3)}: conversation is null")
            record = read(index)
            return record._replace(conversations=(Conversation("empty", ()),)) if index == 5 else record

    index = scan.index_conversations(OneBad(), toy, mode, tiny.processor().tokenizer)
    assert [(bad.index, bad.key.split("/")[0]) for bad in index.rejected] == [(3, mode), (5, "empty")]
    listed = [json.loads(line) for line in (index.folder / "rejected.jsonl").read_text().splitlines()]
    assert [line["index"] for line in listed] == [3, 5]
    assert sorted(set(index.arrays["samples"]["record"])) == [i for i in range(len(source)) if i not in (3, 5)]
