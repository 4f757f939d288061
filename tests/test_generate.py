"""The generate command: what it writes, what its images depend on, which errors it reports."""

import json
import socket
import subprocess

import numpy as np
import pytest
from PIL import Image

from tests import commands

PROMPT = "a red circle"
# Of several lengths, so that the first is padded more in a batch with them than alone.
PROMPTS = [PROMPT, "a green square left of a yellow triangle and a blue cross", "three diamonds"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    done = commands.run("train", "--config=configs/template.py", f"--workdir={folder}", *commands.small())
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def generate(trained, tmp_path_factory):
    """Generates with the trained model into a new folder, and returns the folder."""

    def run(*flags):
        out = tmp_path_factory.mktemp("out")
        done = commands.run("generate", f"--checkpoint={trained}", f"--out={out}", *flags)
        assert done.returncode == 0, done.stderr
        return out

    return run


@pytest.fixture(scope="module")
def alone(generate):
    return generate("--prompt", PROMPT)


@pytest.fixture(scope="module")
def prompts(tmp_path_factory):
    file = tmp_path_factory.mktemp("prompts") / "prompts.txt"
    file.write_text("\n\n".join(PROMPTS) + "\n")
    return file


@pytest.fixture(scope="module")
def from_file(generate, prompts):
    """The folders of all prompts. Batches of two; the last has one prompt."""
    return sorted(generate("--prompts", prompts, "--batch_size=2").iterdir())


def _files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _image(path):
    return np.asarray(Image.open(path)).astype(int)


def _record(folder):
    return json.loads((folder / "trajectory.json").read_text("utf-8"))


def test_one_prompt_writes_both_turns(alone, trained):
    files = _files(alone)
    assert sorted(files) == ["thinking1.txt", "thinking2.txt", "trajectory.json", "turn1.png", "turn2.png"]
    record = _record(alone)
    assert (record["prompt"], record["seed"], record["index"], record["step"]) == (
        PROMPT,
        0,
        0,
        commands.SMALL["steps"],
    )
    assert record["checkpoint"] == str(trained)
    assert [turn["image"] for turn in record["turns"]] == ["turn1.png", "turn2.png"]
    for number, turn in enumerate(record["turns"], start=1):
        assert _image(alone / turn["image"]).shape == (32, 32, 3)
        assert files[f"thinking{number}.txt"].decode("utf-8") == turn["thinking"]


def test_the_same_seed_gives_the_same_bytes(alone, generate):
    assert _files(generate("--prompt", PROMPT)) == _files(alone)


def test_another_seed_gives_another_image(alone, generate):
    other = generate("--prompt", PROMPT, "--seed=1")
    for name in ("turn1.png", "turn2.png"):
        assert np.abs(_image(other / name) - _image(alone / name)).max() > 16


def test_one_turn_equals_the_first_of_two(alone, generate):
    files = _files(generate("--prompt", PROMPT, "--turns=1"))
    both = _files(alone)
    assert sorted(files) == ["thinking1.txt", "trajectory.json", "turn1.png"]
    assert all(files[name] == both[name] for name in ("thinking1.txt", "turn1.png"))


def test_prompts_of_a_file_do_not_affect_each_other(alone, from_file):
    folders = from_file
    assert [folder.name for folder in folders] == ["00000", "00001", "00002"]
    assert [_record(folder)["prompt"] for folder in folders] == PROMPTS
    assert [_record(folder)["index"] for folder in folders] == [0, 1, 2]
    for name in ("turn1.png", "turn2.png"):
        assert np.abs(_image(folders[0] / name) - _image(alone / name)).max() <= 1
        assert np.abs(_image(folders[0] / name) - _image(folders[1] / name)).max() > 16
    assert [turn["thinking"] for turn in _record(folders[0])["turns"]] == [
        turn["thinking"] for turn in _record(alone)["turns"]
    ]


def test_two_processes_share_the_prompts_and_write_what_one_does(trained, from_file, prompts, tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    line = commands.command_line(
        "generate", f"--checkpoint={trained}", f"--prompts={prompts}", f"--out={tmp_path}", "--batch_size=2"
    )
    started = []
    for index in range(2):
        names = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": str(index)}
        environment = commands.environment() | names | {"JAX_PLATFORMS": "cpu"}
        pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        started.append(subprocess.Popen(line, cwd=commands.ROOT, env=environment, **pipes))
    outputs = [process.communicate(timeout=300)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0], outputs
    assert "00000: " in outputs[0] and "00002: " in outputs[0] and "00001: " not in outputs[0]  # those of process 0
    for one, two in zip(from_file, sorted(tmp_path.iterdir()), strict=True):
        assert (two.name, _record(two)) == (one.name, _record(one))
        for name in ("turn1.png", "turn2.png"):
            assert np.abs(_image(two / name) - _image(one / name)).max() <= 1  # batches of other rows round differently


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        (["--task=text_to_image"], "image.png"),
        (["--task=edit", "--image={image}"], "image.png"),
        (["--image={image}"], "answer.txt"),
        (["--task=edit", "--image={image}", "--image={other}"], "image.png"),
        (["--image={image}", "--image={other}"], "answer.txt"),
        (["--preset=paper", "--turns=1"], "turn1.png"),
    ],
)
def test_other_tasks_and_presets(generate, alone, flags, name):
    out = generate(
        "--prompt", PROMPT, *(flag.format(image=alone / "turn1.png", other=alone / "turn2.png") for flag in flags)
    )
    assert (out / name).exists()
    if name.endswith("png"):
        assert _image(out / name).shape == (32, 32, 3)


def test_images_are_edited_in_the_order_of_their_flags(generate, alone, tmp_path):
    """The edited image has the size of the last one. Trained for two steps, a model hardly sees the images."""
    Image.open(alone / "turn1.png").resize((32, 16)).save(tmp_path / "wide.png")
    flags = [f"--image={alone}/turn1.png", f"--image={tmp_path}/wide.png"]
    one, other = (generate("--prompt", PROMPT, "--task=edit", *order) for order in (flags, flags[::-1]))
    assert (_image(one / "image.png").shape, _image(other / "image.png").shape) == ((16, 32, 3), (32, 32, 3))


def test_a_checkpoint_is_evaluated_on_held_out_prompts(trained, tmp_path):
    flags = [f"--checkpoint={trained}/checkpoints/00000002", f"--out={tmp_path}/out", "--prompts=2", "--batch_size=2"]
    done = commands.run("evaluate", "heldout", *flags, "--controls=2")
    assert done.returncode == 0, done.stderr
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert scores["samples"] == scores["scored"] == 2
    assert f"turn 1 {scores['turn1']['overall']:.3f}  turn 2 {scores['turn2']['overall']:.3f}" in done.stdout
    assert (tmp_path / "out" / "report.html").exists()
    # So small a model may not write as long a thinking 1 as the records have.
    assert "perception leaves out 6 of 6 records" in done.stderr and scores["perception"] is None
    assert "controls leave out 2 of 2 samples" in done.stderr and scores["controls"] == {}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--prompt=x", "--task=edit"], "--task edit: needs --image FILE"),
        (["--prompt=x", "--task=text_to_image", "--image=x.png"], "--task text_to_image: does not take --image FILE"),
        (["--prompt=x", "--image={tmp}/none.png"], "none.png: cannot be read"),
        (["--prompt=x", "--image={tmp}/one.png", "--image={tmp}/none.png"], "none.png: cannot be read"),
        (["--prompt=x", "--prompts={tmp}/two.txt"], "either --prompt TEXT or --prompts FILE"),
        ([], "either --prompt TEXT or --prompts FILE"),
        (["--prompts={tmp}/empty.txt"], "empty.txt: contains no prompt"),
        (["--prompts={tmp}/none.txt"], "none.txt: cannot be read"),
        (["--prompt=x", "--checkpoint={tmp}/none"], "none: no checkpoint here"),
        (["--prompt=" + "a red circle and " * 20], "more than sampling.max_prompt 32"),
        (["--prompt=x", "--turns=3"], "turns: 3 is not 1 or 2"),
        (["--prompt=x", "--batch_size=0"], "batch_size"),
        (
            ["--prompt=x", "--mesh=tensor=3"],
            "config.mesh: data 1 x fsdp -1 x context 1 x tensor 3 does not make",
        ),
        (["--prompt=x", "--mesh=heads=2"], "config.mesh.heads: unknown key"),
    ],
)
def test_a_bad_request_is_a_one_line_error_and_writes_nothing(trained, tmp_path, capfd, flags, message):
    (tmp_path / "two.txt").write_text("a red circle\na blue cross\n")
    (tmp_path / "empty.txt").write_text("\n \n")
    Image.new("RGB", (8, 8)).save(tmp_path / "one.png")
    out = tmp_path / "out"
    flags = [flag.format(tmp=tmp_path) for flag in flags]
    done = commands.run_here(capfd, "generate", f"--checkpoint={trained}", f"--out={out}", *flags)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ") and message in line
    assert done.stdout == "" and not out.exists()
