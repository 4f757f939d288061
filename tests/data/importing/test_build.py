"""A build is complete or not there: killed, on a full disk, two at once; and the same bytes however it is done."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
import tensorflow_datasets as tfds

from irg_jax.core.errors import UserError
from irg_jax.core.locks import locked
from irg_jax.data.importing import build, work
from tests.data.importing.inputs import TOY, build_from, encoded, records

ROOT = pathlib.Path(__file__).parents[3]
COUNT = 40
SMALL_SHARDS = """
import sys
from irg_jax.data.importing import build, plan, records, work
plan.SHARD_BYTES = 2_000
records._PIECE_LINES = 5
"""
BUILD = """
build.build(sys.argv[1], sys.argv[2], build.Options(max_rejected=1.0, held_out=0.2))
"""


@pytest.fixture
def source(tmp_path):
    for i in range(COUNT):
        (tmp_path / f"{i}.png").write_bytes(encoded(color=(i, 0, 0)))
    lines = [
        json.dumps({"prompt": f"a cat number {i}", "image2": f"{i}.png", "thinking1": "x" * 200}) for i in range(COUNT)
    ]
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    return f"records:{tmp_path / 'in.jsonl'}"


def python(code, *arguments, **options):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, **options)


def finish(process):
    _, errors = process.communicate(timeout=200)
    return process.returncode, errors


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def build_small(source, out):
    code, errors = finish(python(SMALL_SHARDS + BUILD, source, out))
    assert code == 0, errors
    return files(out)


def test_the_data_set_is_one_of_tfds_with_shards_in_the_order_of_the_input(tmp_path, source):
    made = build_small(source, tmp_path / "out")
    info = tfds.builder_from_directory(tmp_path / "out").info
    assert (info.name, info.splits["train"].num_examples + info.splits["held_out"].num_examples) == ("irgl", COUNT)
    assert info.file_format == tfds.core.FileFormat.ARRAY_RECORD and info.disable_shuffling
    assert "trajectory" in info.description and "2509.06945" in info.citation
    shards = info.splits["train"].shard_lengths
    assert len(shards) > 3 and max(shards) - min(shards) <= 1
    assert all(path.name in made for path in info.splits["train"].filepaths)
    for split in ("train", "held_out"):
        keys = [int(record.key.partition(":")[2]) for record in records(tmp_path / "out", split)]
        assert keys == sorted(keys) and len(keys) > 0


def test_a_record_is_a_group_of_its_own(tmp_path, source):
    from array_record.python import array_record_module

    build_from(source, tmp_path / "out")
    (path,) = (tmp_path / "out").glob("*.array_record*")
    assert "group_size:1," in array_record_module.ArrayRecordReader(str(path)).writer_options_string()


def test_the_same_input_gives_the_same_bytes_in_another_process(tmp_path, source):
    assert build_small(source, tmp_path / "one") == build_small(source, tmp_path / "two")


def test_the_workers_import_neither_jax_nor_tensorflow(tmp_path, source):
    check = 'assert not {"jax", "tensorflow", "apache_beam"} & set(sys.modules)'
    code, errors = finish(python(SMALL_SHARDS + BUILD + check, source, tmp_path / "out"))
    assert code == 0, errors


# --- held out


def test_no_prompt_is_in_both_splits_and_the_count_is_met(tmp_path):
    lines = [json.dumps({"prompt": f"prompt {i % 30}", "thinking1": str(i)}) for i in range(60)]
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    report = build_from(f"records:{tmp_path / 'in.jsonl'}", tmp_path / "out", held_out=9)
    train, held_out = (
        {record.prompt for record in records(tmp_path / "out", split)} for split in ("train", "held_out")
    )
    assert report["records"] == {"train": 50, "held_out": 10} and not train & held_out


def test_more_input_leaves_what_is_held_out(tmp_path):
    texts = [json.dumps({"prompt": f"prompt {i}"}) for i in range(200)]
    (tmp_path / "few.jsonl").write_text("\n".join(texts[:100]))
    (tmp_path / "all.jsonl").write_text("\n".join(texts))
    for name in ("few", "all"):
        build_from(f"records:{tmp_path / name}.jsonl", tmp_path / name, held_out=0.1)
    few, everything = ({record.prompt for record in records(tmp_path / name, "held_out")} for name in ("few", "all"))
    assert few < everything and 3 < len(few) < 20


@pytest.mark.parametrize("held_out", [COUNT, COUNT + 1, 0.9999999])
def test_all_records_cannot_be_held_out(tmp_path, source, held_out):
    with pytest.raises(UserError, match="--held_out"):
        build_from(source, tmp_path / "out", held_out=held_out)


# --- killed, again, at once, full


KILL = """
import os, signal
before = work.{stage}
def die(folder, number, **options):
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    before(folder, number, **options)
work.{stage} = die
"""


@pytest.mark.parametrize("stage", ["scan_piece", "write_shard"])
def test_a_killed_build_leaves_no_data_set_and_goes_on(tmp_path, source, stage):
    out = tmp_path / "out"
    code, _ = finish(python(SMALL_SHARDS + KILL.format(stage=stage) + BUILD, source, out))
    assert code == -signal.SIGKILL and not out.exists()
    done = sorted((tmp_path / ".out.partial").glob("*/s*/*"))
    assert len(done) >= 3
    times = {path: path.stat().st_mtime_ns for path in done}
    code, errors = finish(python(SMALL_SHARDS + watch(times) + BUILD, source, out))
    assert code == 0, errors
    assert files(out) == build_small(source, tmp_path / "whole")
    assert not (tmp_path / ".out.partial").exists()


def watch(times):
    """Code that makes sure, at the end of the writing, that what was there already was not made again."""
    return f"""
import os
finish = build.finish
def checked(*arguments):
    for path, changed in { ({str(path): changed for path, changed in times.items()})!r}.items():
        assert os.stat(path).st_mtime_ns == changed, path
    finish(*arguments)
build.finish = checked
"""


KILL_AT_THE_END = """
import os, signal
rename, left = os.rename, [2]
def die(*arguments):
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    rename(*arguments)
os.rename = die
"""


def test_a_build_that_is_killed_while_its_shards_are_moved_goes_on(tmp_path, source):
    out = tmp_path / "out"
    code, _ = finish(python(SMALL_SHARDS + KILL_AT_THE_END + BUILD, source, out))
    assert code == -signal.SIGKILL and not out.exists()
    assert build_small(source, out) == build_small(source, tmp_path / "whole")


def test_building_again_does_nothing_and_other_input_is_refused(tmp_path, source):
    out = tmp_path / "out"
    first = build_from(source, out)
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    assert build_from(source, out, max_rejected=0.5) == first
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before
    with pytest.raises(UserError, match="was built from other files, or with other flags; delete it"):
        build_from(source, out, max_text=500)


def test_a_folder_that_holds_something_else_is_left_as_it_is(tmp_path, source):
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="holds something else than a data set"):
        build_from(source, out)
    assert files(out) == {"notes.txt": b"mine"}


def test_an_empty_folder_is_filled(tmp_path, source):
    (tmp_path / "out").mkdir()
    build_from(source, tmp_path / "out")
    assert len(records(tmp_path / "out")) == COUNT


def test_two_builds_at_once_are_refused_in_one_line(tmp_path, source):
    out = tmp_path / "out"
    with locked(out, "--out", beside=True), pytest.raises(UserError, match="--out: another process is writing to"):
        build_from(source, out)
    assert not out.exists()
    build_from(source, out)


FULL_DISK = """
import resource, signal
from irg_jax.core.errors import UserError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
plan.SHARD_BYTES = 1 << 20
try:
    build.build(sys.argv[1], sys.argv[2], build.Options())
except UserError as error:
    print(error, file=sys.stderr)
    sys.exit(2)
"""


def test_a_disk_that_fills_up_is_named_and_leaves_no_half_shard(tmp_path, source):
    out = tmp_path / "out"
    code, errors = finish(python(SMALL_SHARDS + FULL_DISK, source, out))
    assert code == 2 and f"{out}: cannot be written" in errors.splitlines()[-1], errors
    assert not out.exists()
    assert not list((tmp_path / ".out.partial").glob("*/shards/*"))
    build_from(source, out)
    assert len(records(out)) == COUNT


def test_input_that_changes_during_the_build_is_named(tmp_path, source, monkeypatch):
    run = work.run

    def change(step, folder, numbers, what, beam):
        run(step, folder, numbers, what, beam)
        (tmp_path / "7.png").write_bytes(encoded(color=(0, 0, 9)))

    with monkeypatch.context() as patch:
        patch.setattr(work, "run", change)
        with pytest.raises(UserError, match="in.jsonl row 7: has changed since the build began; start the build again"):
            build_from(source, tmp_path / "out")
    build_from(source, tmp_path / "out")
    assert records(tmp_path / "out")[7].image2 == encoded(color=(0, 0, 9))


def test_input_of_which_nothing_can_be_used_is_named(tmp_path):
    (tmp_path / "in.jsonl").write_text("{\n[\n")
    with pytest.raises(UserError, match="none of 2 rows can be used; the first: in.jsonl row 0: the line is not valid"):
        build_from(f"records:{tmp_path / 'in.jsonl'}", tmp_path / "out")


def test_a_url_is_refused(source):
    with pytest.raises(UserError, match="is a URL, to which ArrayRecord files cannot be written"):
        build_from(source, "gs://bucket/out")


# --- Beam


def test_without_beam_its_flags_say_what_to_install(tmp_path, source, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(UserError, match=r"pip install 'irg-jax\[beam\]'"):
        build.build(source, str(tmp_path / "out"), build.Options(), work.Beam(2))


def test_a_runner_of_its_own_replaces_the_local_one():
    assert work.beam_options(work.Beam(3))[2] == "--direct_num_workers=3"
    assert work.beam_options(work.Beam(3, "--runner=FlinkRunner --a='b c'")) == ["--runner=FlinkRunner", "--a=b c"]


IMPORTS = "import sys\nfrom irg_jax.data.importing import build, records, work\n"
BEAM = "build.build(sys.argv[1], sys.argv[2], build.Options(max_rejected=1.0, held_out=0.2), work.Beam(2))"


@pytest.fixture
def beam():
    return pytest.importorskip("apache_beam")


def test_beam_gives_the_same_bytes_also_after_it_was_killed(tmp_path, beam):
    out, source = tmp_path / "out", f"parquet:{TOY}"
    killed = python(IMPORTS + BEAM, source, out, start_new_session=True)
    scans = tmp_path / ".out.partial"
    while not list(scans.glob("*/scans/*.npz")):
        assert killed.poll() is None, killed.communicate()
        time.sleep(0.05)
    os.killpg(killed.pid, signal.SIGKILL)
    finish(killed)
    assert not out.exists()
    code, errors = finish(python(IMPORTS + BEAM, source, out))
    assert code == 0, errors
    build_from(source, tmp_path / "here", held_out=0.2)
    assert files(out) == files(tmp_path / "here")


# The worker, another process, finds the input gone.
GONE = """
import os
save = work.save_importer
def gone(*arguments):
    save(*arguments)
    os.unlink(sys.argv[3])
work.save_importer = gone
"""


def test_what_a_worker_of_beam_says_is_the_users_error(tmp_path, beam):
    source = tmp_path / "in.jsonl"
    source.write_text(json.dumps({"prompt": "a"}))
    code, errors = finish(python(IMPORTS + GONE + BEAM, f"records:{source}", tmp_path / "out", source))
    assert code == 1 and errors.splitlines()[-1].startswith("irg_jax.core.errors.UserError"), errors
