"""The convert command: every way to call it, what it refuses, and how much memory it needs."""

import json
import subprocess
import sys

from irg_jax.checkpoints.bagel import config as bagel_config
from irg_jax.checkpoints.bagel import synthetic
from irg_jax.models.config import FluxVAEConfig
from tests import commands
from tests.checkpoints.bagel import folders

# Many command lines in one process, because starting one takes seconds.
CALLS = """
import contextlib, io, json, sys
from irg_jax import convert
from irg_jax.core.config.command_line import run_command
answers = []
for line in json.loads(sys.argv[1]):
    out, err, status = io.StringIO(), io.StringIO(), None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            run_command(convert.main, argv=["convert", *line], flag_values=convert.FLAGS)
        except SystemExit as end:
            status = end.code or 0
    answers.append([status, out.getvalue(), err.getvalue()])
print(json.dumps(answers))
"""


def call(*lines: list[object]) -> list[tuple[int, str, str]]:
    """(exit status, output, errors) of each command line, run one after the other."""
    texts = json.dumps([list(map(str, line)) for line in lines])
    done = subprocess.run(
        [sys.executable, "-c", CALLS, texts],
        cwd=commands.ROOT, env=commands.environment(), capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_round_trip_on_the_command_line(tmp_path):
    orbax, back = tmp_path / "o", tmp_path / "b"
    for source, target in ((f"bagel:{folders.TINY}", f"orbax:{orbax}"), (f"orbax:{orbax}", f"bagel:{back}")):
        done = commands.run("convert", "--from", source, "--to", target)
        assert done.returncode == 0, done.stderr
        assert done.stderr.strip() == target.partition(":")[2], "only the line of the command itself"
    assert folders.content(back) == folders.content(folders.TINY)


def test_check_prints_its_result_and_returns_it_as_exit_status(tmp_path):
    bad = folders.changed(tmp_path / "bad", config__interpolate_pos=True)
    synthetic.write(tmp_path / "made", bagel_config.read(folders.TINY))
    good, wrong, made = call(*(["--check", folder] for folder in (folders.TINY, bad, tmp_path / "made")))
    for status, out, _ in (good, made):
        assert status == 0
        assert out.splitlines()[-1].startswith("result: ")
        assert "is a BAGEL folder that converts" in out
    assert wrong[0] == 2
    assert "problem: " in wrong[1] and "interpolate_pos" in wrong[1]
    assert "has 1 problem(s)" in wrong[1]


def test_overwrite_replaces_a_target_and_never_the_source(tmp_path):
    source, target = folders.changed(tmp_path / "b"), tmp_path / "o"
    target.mkdir()
    (target / "mine.txt").write_text("")
    onto_old, onto_itself = (["--from", f"bagel:{source}", "--to", f"orbax:{x}"] for x in (target, source))
    exists, same = call(onto_old, [*onto_itself, "--overwrite"])
    assert exists[0] == 2 and "o: exists already; choose another folder, or give --overwrite" in exists[2]
    assert same[0] == 2 and "b: is the source" in same[2]
    assert folders.content(target) == {"mine.txt": b""}
    assert folders.content(source) == folders.content(folders.TINY)
    assert call([*onto_old, "--overwrite"])[0][0] == 0
    assert (target / "checkpoints").is_dir() and not (target / "mine.txt").exists()


def test_a_model_initialized_from_parts_is_exported_to_a_folder_that_converts(tmp_path):
    llm, vit, vae = folders.parts(tmp_path)
    start, back, again = tmp_path / "start", tmp_path / "back", tmp_path / "again"
    answers = call(
        ["--from", f"qwen2:{llm}", "--vit", f"siglip:{vit}", "--vae", vae, "--to", f"orbax:{start}"],
        ["--from", f"orbax:{start}", "--to", f"bagel:{back}", "--dtype", "bfloat16"],
        ["--check", back],
        ["--from", f"bagel:{back}", "--to", f"orbax:{again}"],
    )
    assert [status for status, *_ in answers] == [0, 0, 0, 0], answers


REFUSED = {
    "": "--from: None is not bagel:PATH or orbax:PATH or qwen2:PATH",
    "--from torch:x --to orbax:y": "--from: 'torch:x' is not bagel:PATH or",
    "--from bagel: --to orbax:y": "--from: 'bagel:' is not bagel:PATH or",
    "--from bagel:x": "--to: None is not orbax:PATH",
    "--from bagel:x --to bagel:y": "--to: 'bagel:y' is not orbax:PATH",
    "--from bagel:x --to orbax:y --dtype float32": "--dtype cannot be used with --from bagel",
    "--from orbax:x --to bagel:y --vit siglip:z": "--vit cannot be used with --from orbax",
    "--from qwen2:x --to orbax:y --vit z": "--vit: 'z' is not siglip:PATH",
    "--check x --to orbax:y": "--to cannot be used with --check",
    "--from orbax:x --to bagel:y --weights opt": "weights",
    "--from bagel:/nowhere --to orbax:y": "/nowhere: no such folder",
    "--from orbax:/nowhere --to bagel:y": "/nowhere: no checkpoint here",
    "--from qwen2:/nowhere --to orbax:y": "/nowhere: no such folder",
}


def test_an_invalid_command_line_is_refused_in_one_line():
    answers = call(*(line.split() for line in REFUSED))
    for (line, message), (status, out, error) in zip(REFUSED.items(), answers, strict=True):
        assert (status, out) == (2, ""), line
        assert error.startswith("error: ") and error.count("\n") == 1, line
        assert message in error, line


# --- memory

MEGABYTE = 2**20
# The largest tensor is as large as the stack of all layers of a weight, and the checkpoint is many times larger.
LARGE = bagel_config.make_model(
    bagel_config.DECODER_7B
    | {"hidden": 1024, "layers": 6, "heads": 8, "kv_heads": 2, "mlp": 4096, "vocab": 16384},
    bagel_config.VIT_SO400M | {"hidden": 192, "layers": 2, "heads": 4, "mlp": 320, "patches_per_side": 10},
    FluxVAEConfig(width=32, multipliers=(1, 2, 1, 1), blocks=1, channels=16, scale=0.3611, shift=0.1159),
    max_latent_size=16,
)  # fmt: skip
MEASURE = """
import pathlib, resource, sys
import jax
from irg_jax.checkpoints.bagel import to_bagel, to_orbax
jax.devices()
start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
source, orbax, back = map(pathlib.Path, sys.argv[1:])
to_orbax.convert(source, orbax, overwrite=False)
after_orbax = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
to_bagel.convert(orbax, back, weights="ema", dtype=None, overwrite=False)
after_back = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(after_orbax - start, after_back - start)
"""


def test_memory_does_not_grow_with_the_checkpoint(tmp_path):
    """The documented bound is twice the largest tensor and 1 GB; here it is 200 MB, below half of the checkpoint."""
    synthetic.write(tmp_path / "b", LARGE)
    paths = [tmp_path / name for name in ("b", "orbax", "back")]
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *map(str, paths)],
        cwd=commands.ROOT, env=commands.environment(), capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    size = (tmp_path / "b" / "ema.safetensors").stat().st_size
    largest = 2 * 16384 * 1024
    bound = (2 * largest + 200 * MEGABYTE) / 1024
    orbax, back = map(int, done.stdout.split())
    assert size > 1.5 * bound * 1024, "a checkpoint read at once would be over the bound"
    assert orbax < bound and back < bound, f"{orbax} and {back} KiB, at most {bound:.0f}"
    assert folders.content(tmp_path / "back") == folders.content(tmp_path / "b")
