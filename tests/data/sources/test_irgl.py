"""The published layout: the toy data set follows the table of modes, and every bad file or row is named."""

import base64
import concurrent.futures
import json
import pickle
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from irg_jax.core.errors import UserError
from irg_jax.data import modes
from irg_jax.data.checksum import checksum
from irg_jax.data.conversation import Conversation, Image, Text
from irg_jax.data.images import ImageTransform
from irg_jax.data.index import conversations
from irg_jax.data.packing import layout
from irg_jax.data.packing.layout import Kind
from irg_jax.data.processor import Processor
from irg_jax.data.sources import irgl, parquet
from irg_jax.data.tokenizer import Tokenizer
from irg_jax.data.trajectory import Trajectory
from tests import tiny

TOY = tiny.BAGEL_TINY.parent / "toy_dataset"
ROWS = range(24)
TABLE = {
    # mode: conditions, targets
    "initial_thinking_understanding_learning": (["text", "image need_vit"], ["text need_loss"]),
    "initial_thinking_generation_learning": (["text"], ["text need_loss"]),
    "initial_full_learning": (["text"], ["text need_loss", "image need_loss"]),
    "improving_thinking_understanding_learning": (["text", "image need_vit", "image need_vit"], ["text need_loss"]),
    "improving_thinking_generation_learning": (["text", "text", "image need_vae need_vit"], ["text need_loss"]),
    "improving_full_learning": (["text", "text", "image need_vae need_vit"], ["text need_loss", "image need_loss"]),
}


def structure(conversation):
    """Type and flags of every part, as text."""
    described = []
    for part in conversation.parts:
        flags = [flag for flag in ("need_loss", "need_vae", "need_vit") if getattr(part, flag, False)]
        described.append(" ".join([type(part).__name__.lower(), *flags]))
    return described


def read(source, index):
    """The one conversation of a record."""
    (conversation,) = source.read(index).conversations
    return conversation


# --- the toy data set


@pytest.fixture(scope="module")
def toy():
    sources = {mode: irgl.open_source(TOY, mode) for mode in TABLE}
    return {mode: [read(source, i) for i in range(len(source))] for mode, source in sources.items()}


@pytest.fixture(scope="module")
def trajectories(toy):
    """The trajectory of each row, from the parts of ``improving_full_learning``."""
    return [Trajectory(c.key, *(part.content for part in c.parts)) for c in toy["improving_full_learning"]]


def test_the_toy_data_set_has_all_rows_of_all_modes(toy):
    assert sorted(toy) == sorted(path.name for path in TOY.iterdir()) == sorted(modes.MODES)
    for mode, found in toy.items():
        assert [c.key for c in found] == [f"{mode}/part-00000.parquet:{i}" for i in ROWS]


@pytest.mark.parametrize("mode", TABLE)
def test_every_row_has_the_conditions_and_targets_of_the_table(toy, mode):
    conditions, targets = TABLE[mode]
    for conversation in toy[mode]:
        assert structure(conversation) == conditions + targets, conversation.key


@pytest.mark.parametrize("mode", TABLE)
def test_every_row_equals_our_learning_mode_of_its_trajectory(toy, trajectories, mode):
    for conversation, trajectory in zip(toy[mode], trajectories, strict=True):
        made = modes.conversation(trajectory, modes.learning_mode(mode, "good"))
        assert structure(conversation) == structure(made)
        assert conversation.parts[1:] == made.parts[1:]
        # The published understanding modes word their question differently, around the same prompt.
        question, ours = conversation.parts[0].content, made.parts[0].content
        assert trajectory.prompt in question and trajectory.prompt in ours
        assert (question == ours) == ("understanding" not in mode)


@pytest.mark.parametrize("mode", TABLE)
def test_every_row_packs_with_the_released_tokenizer_and_sizes(toy, mode):
    vae, vit = ImageTransform(128, 32, 16), ImageTransform(140, 56, 14)
    processor = Processor(Tokenizer(tiny.BAGEL_TINY / "bagel"), vae, vit)
    # The images are squares: 128 / 16 = 8 patches per side for the VAE, 140 / 14 = 10 for the ViT.
    blocks = {"need_loss": (Kind.NOISED, (8, 8)), "need_vae": (Kind.CLEAN, (8, 8)), "need_vit": (Kind.VIT, (10, 10))}
    conditions, targets = TABLE[mode]
    wanted = []
    for learned, part in [(False, part) for part in conditions] + [(True, part) for part in targets]:
        kind, *flags = part.split()
        grids = [blocks[flag] for flag in flags] if kind == "image" else [(Kind.TEXT, (0, 0))]
        wanted += [(kind, learned, grid) for kind, grid in grids]
    for conversation in toy[mode]:
        assert [(s.kind, s.learned, s.grid) for s in layout.segments(conversation, processor)] == wanted, (
            conversation.key
        )


# --- files, row groups, threads


def user(content="a red bench", **flags):
    return {"role": "user", "content": content, **flags}


def assistant(*parts):
    return {"role": "assistant", "content": list(parts)}


def text(content="<think> a bench </think>", **flags):
    return {"type": "text", "content": content, **flags}


def image(content=b"image", **flags):
    return {"type": "image", "content": base64.b64encode(content).decode(), **flags}


def write(path, cells, rows_per_group=3, **options):
    """Writes a parquet file with a column ``conversation`` of these cells, an arrow array or strings."""
    path.parent.mkdir(parents=True, exist_ok=True)
    column = cells if isinstance(cells, pa.Array) else pa.array(cells, pa.string())
    pq.write_table(pa.table({"conversation": column}), path, row_group_size=rows_per_group, **options)
    return path


def rows(name, count):
    return [json.dumps([user(f"{name} {i}"), assistant(text())]) for i in range(count)]


@pytest.fixture
def folder(tmp_path):
    """Three files, one of them without rows, in row groups of three."""
    write(tmp_path / "full" / "part-00001.parquet", rows("second", 4))
    write(tmp_path / "full" / "part-00000.parquet", rows("first", 7))
    write(tmp_path / "full" / "part-00002.parquet" / "piece.parquet", rows("third", 2))
    write(tmp_path / "full" / "empty.parquet", [])
    return tmp_path


PROMPTS = [*(f"first {i}" for i in range(7)), *(f"second {i}" for i in range(4)), "third 0", "third 1"]


def prompts(source, order):
    return [read(source, i).parts[0].content for i in order]


def test_files_are_read_sorted_by_name(folder):
    source = irgl.open_source(folder, "full")
    assert len(source) == 13
    assert prompts(source, range(13)) == PROMPTS
    keys = [source.key(i) for i in (0, 6, 7, 12)]
    assert keys == [read(source, i).key for i in (0, 6, 7, 12)] == [
        "full/part-00000.parquet:0", "full/part-00000.parquet:6", "full/part-00001.parquet:0",
        "full/part-00002.parquet/piece.parquet:1",
    ]  # fmt: skip


@pytest.mark.parametrize("outside", [-1, 3])
def test_an_index_out_of_range_is_an_index_error(tmp_path, outside):
    write(tmp_path / "full" / "part-00000.parquet", rows("only", 3))
    with pytest.raises(IndexError, match=f"row {outside} of 3"):
        irgl.open_source(tmp_path, "full").read(outside)


def test_many_threads_and_a_pickled_copy_read_the_same(folder, monkeypatch):
    monkeypatch.setattr(parquet, "CACHE_BYTES", 1000)
    source = irgl.open_source(folder, "full")
    order = np.random.default_rng(0).integers(0, 13, 400)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: read(source, i).parts[0].content, order))
    assert found == [PROMPTS[i] for i in order]
    assert prompts(pickle.loads(pickle.dumps(source)), range(13)) == PROMPTS


def groups_read(source, order, monkeypatch):
    """The row groups that are read from disk, as (file, number)."""
    found = []
    read_group = parquet.read_group

    def record_and_read(path, group, columns):
        found.append((group.file, group.number))
        return read_group(path, group, columns)

    monkeypatch.setattr(parquet, "read_group", record_and_read)
    prompts(source, order)
    return found


def test_sequential_access_reads_each_row_group_once_even_without_cache_space(folder, monkeypatch):
    monkeypatch.setattr(parquet, "CACHE_BYTES", 0)
    found = groups_read(irgl.open_source(folder, "full"), range(13), monkeypatch)
    assert len(found) == len(set(found)) == 6


def test_the_least_recently_used_row_group_is_evicted(folder, monkeypatch):
    source = irgl.open_source(folder, "full")
    group = pq.read_table(folder / "full" / "part-00000.parquet").column(0)[:3].nbytes
    monkeypatch.setattr(parquet, "CACHE_BYTES", 2 * group + group // 2)
    first, second, third = 0, 3, 7
    found = groups_read(source, [first, second, first, third, first, second], monkeypatch)
    a, b = "full/part-00000.parquet", "full/part-00001.parquet"
    assert found == [(a, 0), (a, 1), (b, 0), (a, 1)]


def test_the_memory_is_bounded_by_the_cache_and_one_row_group(folder, monkeypatch):
    """Also where a group is larger than the cache: it is dropped before the next one is read."""
    monkeypatch.setattr(parquet, "CACHE_BYTES", 10)
    source, read_group = irgl.open_source(folder, "full"), parquet.read_group

    def check_and_read(*arguments):
        assert not source._table._cache
        return read_group(*arguments)

    monkeypatch.setattr(parquet, "read_group", check_and_read)
    assert prompts(source, [0, 3, 7]) == ["first 0", "first 3", "second 0"]


def test_a_row_group_that_is_too_large_is_refused_with_the_command_that_converts(folder, monkeypatch):
    monkeypatch.setattr(parquet, "MAX_GROUP_BYTES", 100)
    command = "python -m irg_jax.build_data irgl --from parquet:DIR --out DIR"
    with pytest.raises(UserError, match=f"part-00000.parquet: row group 0 has 0.0 MiB, .*; convert .*: {command}$"):
        irgl.open_source(folder, "full")


def test_files_and_checksums_say_what_was_read(folder):
    source = irgl.open_source(folder, "full")
    names = ["empty", "part-00000", "part-00001", "part-00002.parquet/piece"]
    assert [file.path for file in source.files] == [f"full/{name}.parquet" for name in names]
    assert [file.records for file in source.files] == [0, 7, 4, 2]
    for file in source.files:
        found = (folder / file.path).stat()
        assert (file.size, file.changed) == (found.st_size, found.st_mtime_ns)
    assert source.kind == "published conversations v1"
    assert source.read(8).crc == checksum([rows("second", 2)[1].encode()])


# --- one conversation


def parse(*turns):
    return irgl.parse(json.dumps(turns), "full/part-00000.parquet:17")


def test_parts_keep_their_order_and_flags_have_defaults():
    conversation = parse(
        user("Répondez."),
        user("a bench", need_loss=True),
        assistant(text("plan"), image(b"1", need_vae=True, need_vit=True), text("seen", need_loss=False)),
        user("again"),
        assistant(image(b"2", need_loss=True)),
    )
    assert conversation == Conversation(
        "full/part-00000.parquet:17",
        (
            Text("Répondez."), Text("a bench", need_loss=True), Text("plan", need_loss=True),
            Image(b"1", need_vae=True, need_vit=True), Text("seen"), Text("again"), Image(b"2", need_loss=True),
        ),
    )  # fmt: skip


BYTES = bytes(range(251, 256)) * 20  # in base64 with all of the letters that the alphabets differ in


@pytest.mark.parametrize(
    ("text", "form"),
    [
        (base64.b64encode(BYTES).decode(), "plain"),
        (base64.encodebytes(BYTES).decode(), "line breaks"),
        (base64.encodebytes(BYTES).decode().replace("\n", "\r\n"), "line breaks"),
        (base64.urlsafe_b64encode(BYTES).decode(), "URL alphabet"),
        ("data:image/jpeg;base64," + base64.b64encode(BYTES).decode(), "data URI"),
        ("DATA:image/svg+xml;base64," + base64.encodebytes(BYTES).decode(), "data URI + line breaks"),
    ],
)
def test_base64_is_taken_in_the_forms_that_writers_use(text, form):
    assert irgl.decode_base64(text) == (BYTES, form)
    assert parse(assistant({"type": "image", "content": text})).parts == (Image(BYTES),)


BAD_TURNS = [
    # the turns, and the message after the row's key
    ((), r"conversation is \[\]; it must be a list of turns"),
    (("a bench",), r'conversation\[0\] is "a bench"; it must be an object'),
    (({"content": "a bench"},), r"conversation\[0\].role is missing; it must be 'user' or 'assistant'"),
    (({"role": "system", "content": "s"},), r'conversation\[0\].role is "system"; it must be'),
    (({"role": ["user"], "content": "s"},), r'conversation\[0\].role is \["user"\]; it must be'),
    (({"role": "user"},), r"conversation\[0\].content is missing; write it"),
    ((user(""),), r"conversation\[0\].content is empty; write it"),
    ((user([text()]),), r'conversation\[0\].content is \[\{"type": .*; it must be a string'),
    ((user("\ud83d"),), r"conversation\[0\].content has half of a surrogate pair at character 0"),
    ((user(weight=1),), r'conversation\[0\] has the unknown key "weight"; known keys are role, content, need_loss'),
    ((user(need_loss="yes"),), r'conversation\[0\].need_loss is "yes"; it must be true or false'),
    ((user(need_loss=None),), r"conversation\[0\].need_loss is null; it must be true or false"),
    ((user(), {"role": "assistant", "content": "plan"}), r'conversation\[1\].content is "plan"; it must be a list'),
    ((user(), assistant()), r"conversation\[1\].content is empty; write it"),
]
BAD_PARTS = [
    # the second part of the turn, and the message after its path
    (None, r" is null; it must be an object with 'type' and 'content'"),
    ({"content": "plan"}, r"\.type is missing; it must be 'text' or 'image'"),
    ({"type": "video", "content": "plan"}, r'\.type is "video"; it must be'),
    (text(""), r"\.content is empty; write it"),
    (text(need_vit=True), r' has the unknown key "need_vit"; known keys are type, content, need_loss'),
    (text(need_loss=1), r"\.need_loss is 1; it must be true or false"),
    (image(need_ViT=True), r' has the unknown key "need_ViT"; known keys are .*need_vae, need_vit'),
    (image(need_vae="true"), r'\.need_vae is "true"; it must be true or false'),
    ({"type": "image", "content": 7}, r"\.content is 7; it must be a string"),
    ({"type": "image", "content": ""}, r"\.content is empty; write it"),
    ({"type": "image", "content": "iVBORw0K_!"}, r'\.content is "iVBORw0K_!", which is not base64'),
    ({"type": "image", "content": "AAA_+AAA"}, r"\.content is .* which is not base64 \(it mixes the alphabet"),
    ({"type": "image", "content": "data:image/png;base64,"}, r"\.content is .* which is not base64 \(it has no bytes"),
    ({"type": "image", "content": "data:text/html;base64,AAAA"}, r"\.content is .* which is not base64"),
    ({"type": "image", "content": "AAAA BBBB"}, r'\.content is "AAAA BBBB", which is not base64'),
    ({"type": "image", "content": "A" * 2001}, r'\.content is "A{56}\.\.\., which is not base64'),
]
BAD_TEXTS = [
    ("", "is not valid JSON"),
    ('[{"role": "user", "content": "a be', "is not valid JSON"),
    ("[" * 100_000, "is not valid JSON"),
    ('[{"role": "user", "content": "a", "content": "b"}]', "'content' appears twice"),
    ('{"role": "user", "content": "a"}', "must be a list of turns"),
]
BAD = [(json.dumps(turns), message) for turns, message in BAD_TURNS]
BAD += [(json.dumps([user(), assistant(text(), p)]), rf"conversation\[1\]\.content\[1\]{m}") for p, m in BAD_PARTS]
BAD += BAD_TEXTS


@pytest.mark.parametrize(("cell", "message"), BAD, ids=range(len(BAD)))
def test_a_bad_row_is_named_with_the_path_in_it(tmp_path, cell, message):
    write(tmp_path / "full" / "part-00000.parquet", [*rows("good", 4), cell])
    source = irgl.open_source(tmp_path, "full")
    with pytest.raises(UserError, match=rf"^record full/part-00000.parquet:4: .*{message}") as caught:
        source.read(4)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_an_image_without_flags_is_named_by_its_row_when_indexed(tmp_path):
    write(tmp_path / "full" / "part-00000.parquet", [json.dumps([user(), assistant(text(), image(tiny.png()))])])
    source = irgl.open_source(tmp_path, "full")
    (rejected,) = conversations.describe([(0, source.read(0))], tiny.processor().tokenizer).rejected
    assert rejected[1] == "full/part-00000.parquet:0" and "need_loss, need_vae or need_vit; set one" in rejected[2]


# --- bad cells, files and folders


@pytest.mark.parametrize(
    ("cell", "message"),
    [(None, "conversation is null"), (b"[\xff]", "conversation is not UTF-8")],
)
def test_a_cell_that_is_not_text_is_named(tmp_path, cell, message):
    binary = pa.array([*map(str.encode, rows("good", 4)), cell], pa.binary())
    cells = pa.StringArray.from_buffers(5, *binary.buffers()[1:], binary.buffers()[0])
    write(tmp_path / "full" / "part-00000.parquet", cells)
    with pytest.raises(UserError, match=f"^record full/part-00000.parquet:4: {message}"):
        irgl.open_source(tmp_path, "full").read(4)


def test_a_missing_or_empty_folder_is_named_with_the_existing_ones(folder):
    (folder / "initial").mkdir()
    known = f"the folders in {folder} are full, initial"
    for mode in ("improving", "initial", "", ".."):
        with pytest.raises(UserError, match=f"{folder / mode}: no .*parquet files; {known}"):
            irgl.open_source(folder, mode)
    with pytest.raises(UserError, match="nowhere/full: no .*parquet files; the folders in .*/nowhere are none"):
        irgl.open_source(folder / "nowhere", "full")


def test_files_without_rows_are_refused(tmp_path):
    write(tmp_path / "full" / "part-00000.parquet", [])
    with pytest.raises(UserError, match="full: its parquet files have no rows"):
        irgl.open_source(tmp_path, "full")


@pytest.mark.parametrize("kept", [slice(0), slice(3), slice(None, -1), slice(1000), slice(1, None)])
def test_a_truncated_file_is_named(folder, kept):
    path = folder / "full" / "part-00001.parquet"
    path.write_bytes(path.read_bytes()[kept])
    with pytest.raises(UserError, match=f"^{path}: cannot be read as parquet") as caught:
        source = irgl.open_source(folder, "full")
        prompts(source, range(13))  # a file truncated at its beginning still has its footer
    assert "\n" not in str(caught.value)


def test_damage_inside_a_file_is_detected_by_its_checksums(tmp_path):
    path = write(tmp_path / "full" / "a.parquet", rows("good", 3), compression="none", write_page_checksum=True)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"good 1", b"gold 1", 1))
    with pytest.raises(UserError, match=f"^{path}: cannot be read as parquet"):
        irgl.open_source(tmp_path, "full").read(1)


def test_a_file_that_changes_during_a_run_is_named(folder):
    source = irgl.open_source(folder, "full")
    path = write(folder / "full" / "part-00001.parquet", rows("new", 2))
    with pytest.raises(UserError, match=f"{path}: row group 0 has 2 rows, and had 3 when it was opened"):
        source.read(7)


def test_a_missing_column_is_named_with_the_existing_ones(folder):
    path = folder / "full" / "part-00002.parquet" / "piece.parquet"
    pq.write_table(pa.table({"prompt": ["a"], "image": ["b"]}), path)
    with pytest.raises(UserError, match=f"{path}: needs one column 'conversation', has prompt, image"):
        irgl.open_source(folder, "full")


@pytest.mark.parametrize("cells", [pa.array([1, 2]), pa.array([b"[]"]), pa.array([[{"role": "user"}]])])
def test_a_column_that_is_not_of_strings_is_named(folder, cells):
    path = write(folder / "full" / "part-00001.parquet", cells)
    with pytest.raises(UserError, match=f"{path}: the column 'conversation' is of type .*; write it as strings"):
        irgl.open_source(folder, "full")


# --- which files count


@pytest.fixture
def part():
    return TOY / "initial_full_learning/part-00000.parquet"


def mode_folder(tmp_path, part):
    folder = tmp_path / "set" / "initial_full_learning"
    folder.mkdir(parents=True)
    shutil.copy(part, folder)
    return folder


def length(tmp_path):
    return len(irgl.open_source(tmp_path / "set", "initial_full_learning"))


@pytest.mark.parametrize("name", [".ipynb_checkpoints", ".snapshot", ".Trash-1000", "_temporary"])
def test_hidden_folders_do_not_count(tmp_path, part, name):
    folder = mode_folder(tmp_path, part)
    shutil.copytree(folder, folder / name)
    shutil.copytree(folder, tmp_path / "set" / f".{name}")
    assert length(tmp_path) == 24


@pytest.mark.parametrize("name", ["._part-00000.parquet", "_part.parquet", ".part-1.parquet"])
def test_hidden_files_do_not_count(tmp_path, part, name):
    (mode_folder(tmp_path, part) / name).write_bytes(b"not parquet")
    assert length(tmp_path) == 24


def test_linked_folders_and_files_count(tmp_path, part):
    folder = mode_folder(tmp_path, part)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(part, elsewhere)
    (folder / "linked").symlink_to(elsewhere)
    (folder / "part-1.parquet").symlink_to(part)
    assert length(tmp_path) == 3 * 24


def test_a_link_that_leads_nowhere_or_to_itself_is_named(tmp_path, part):
    folder = mode_folder(tmp_path, part)
    (folder / "circle").symlink_to(folder)
    with pytest.raises(UserError, match="circle: is a link to a folder that it is in"):
        length(tmp_path)
    (folder / "circle").unlink()
    (folder / "gone.parquet").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match="gone.parquet: is a link that leads nowhere"):
        length(tmp_path)
