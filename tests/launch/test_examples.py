"""Every launch example of the READMEs can be trained on, and fits, the machines that it asks for."""

import json
import re
import shlex
import subprocess
import sys

from tests import commands
from tests.launch.world import ROOT

LAUNCHERS = (
    "launch/local.sh",
    "launch/tpu/tpu.sh",
    "launch/gke/jobset.sh",
    "launch/gke/xpk.sh",
    "launch/slurm/submit.sh",
)
TOPOLOGIES = {"v5p-16": "v5p:2x2x2", "v5p-128": "v5p:4x4x4", "v6e-64": "v6e:8x8"}
# Runs one command of the package on several command lines in one process, and prints the exit status of each.
RUN_ALL = """
import json, sys
from irg_jax import {name} as command
from irg_jax.core.config.command_line import run_command
from irg_jax.experiment.config import parse_config
for line in json.load(sys.stdin):
    try:
        run_command(command.main, parse_config, ["{name}", *line], flag_values=command.FLAGS)
    except SystemExit as ended:
        print(ended.code or 0)
"""


def launches():
    """The launch commands in the READMEs, each as its words, with names in place of BUCKET."""
    found = []
    for path in (ROOT / "README.md", ROOT / "launch/README.md"):
        for block in re.findall(r"```bash\n(.*?)```", path.read_text(), re.DOTALL):
            for line in block.replace("\\\n", " ").replace("BUCKET", "bucket").splitlines():
                found += [words for words in [shlex.split(line, comments=True)] if words and words[0] in LAUNCHERS]
    return found


def options(words):
    """The launcher's own options."""
    return dict(word[2:].split("=", 1) for word in words[: words.index("--")] if word.startswith("--"))


def topology(words):
    """The flags of the plan for the machines that the launcher asks for."""
    given = options(words)
    if "submit.sh" in words[0]:
        return [f"--topology=h100:{given['gpus_per_node']}", f"--slices={given['nodes']}"]
    if "jobset.sh" in words[0]:
        return [f"--topology={given['accelerator']}:{given['topology']}", f"--slices={given.get('slices', 1)}"]
    name = given.get("accelerator_type") or given["tpu_type"]
    return [f"--topology={TOPOLOGIES[name]}", f"--slices={given.get('slices', 1)}"]


def run_all(name, lines):
    """The exit statuses of the command for each of the command lines."""
    program = [sys.executable, "-c", RUN_ALL.format(name=name)]
    environment = commands.environment() | {"JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        program, cwd=ROOT, env=environment, input=json.dumps(lines), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    print(done.stderr)  # shown if the test fails
    return [int(status) for status in done.stdout.split()]


def test_the_readmes_have_an_example_for_every_launcher():
    assert {words[0] for words in launches()} == set(LAUNCHERS)


def test_every_example_passes_the_check_of_its_launcher(world):
    lines = []
    for words in launches():
        world.answer({})
        at = words.index("--")
        script = words[0].removeprefix("launch/")
        process = world.run(script, *words[1:at], "--dry_run", *words[at:])
        assert process.returncode == 0, process.stderr
        ((devices, arguments),) = world.checks()
        assert arguments == words[at + 1 :]
        lines.append(["--check_only", f"--devices={devices}", *arguments])
    # Eight rows for 64 devices: what these examples must not be.
    lines.append(["--check_only", "--devices=64", "--config=irg_7b_stage1", "--workdir=gs://bucket/run"])
    *statuses, refused = run_all("train", lines)
    assert statuses == [0] * len(statuses) and refused == 2


def test_every_example_on_accelerators_fits_by_formula():
    lines = set()
    for words in launches():
        if words[0] != "launch/local.sh":
            training = [word for word in words[words.index("--") + 1 :] if not word.startswith("--workdir")]
            lines.add(("--formula", *topology(words), *training))
    assert run_all("plan", sorted(lines)) == [0] * len(lines)
