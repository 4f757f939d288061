"""Runs a launcher without a cluster: with stand-ins for the programs that it calls, in its own home folder."""

import json
import os
import pathlib
import re
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
LAUNCH = ROOT / "launch"
_STUBS = ["gcloud", "git", "kubectl", "python", "python3", "sbatch", "scontrol", "srun", "uv", "xpk"]
_STUBS += ["fusermount", "gcsfuse", "mountpoint", "sudo"]
# Nothing is mounted, every bucket has a hierarchical namespace, and the check of the arguments finds nothing.
_DEFAULTS = {
    "mountpoint": [[[], [["", 1, 0]]]],
    "gcloud": [[["buckets"], [["True\n", 0, 0]]]],
    "python": [[["find_spec"], [["", 0, 0]]], [["--check_only"], [["", 0, 0]]]],
}
# Arguments that must pass through all shells unchanged.
TRAINING = [
    "--config=my configs/a.py",
    '--config.note=it\'s "$HOME" & {{name}} \\ `x`; *',
    "--workdir=gs://bucket/run",
    "--config.data.sources.irgl.dir=gs://my_data.set/a/b",
]
# The same with mounted buckets, and with folders instead of buckets.
MOUNTED = [word.replace("gs://", "/gcs/") for word in TRAINING]
FOLDERS = [word.replace("gs://", "/shared/") for word in TRAINING]


class World:
    """A PATH whose first folder holds the stand-ins, and a home folder."""

    def __init__(self, folder):
        self.bin, self.home = folder / "bin", folder / "home"
        self.bin.mkdir()
        self.home.mkdir()
        (self.bin / "stub").write_text(f"#!{sys.executable} -IS\n{(ROOT / 'tests/launch/stub.py').read_text()}")
        (self.bin / "stub").chmod(0o755)
        for name in _STUBS:
            (self.bin / name).symlink_to("stub")
        # Their places on a TPU worker.
        for path in (".local/bin/uv", ".irg_jax/venv/bin/python"):
            program = self.home / path
            program.parent.mkdir(parents=True)
            self.program(program, f'exec "{self.bin / program.name}" "$@"')
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "XLA_"))}
        self.environment |= {"PATH": f"{self.bin}:{os.environ['PATH']}", "HOME": str(self.home), "TMPDIR": str(folder)}
        self.answer({})

    def program(self, path, text):
        """Writes a shell script."""
        path.unlink(missing_ok=True)
        path.write_text(f"#!/usr/bin/env bash\n{text}\n")
        path.chmod(0o755)

    def answer(self, answers):
        """Sets what the stand-ins answer (see stub.py), before their defaults; forgets the calls so far.

        An entry without words is for the calls that no other one, not even a default, is for.
        """
        answers = {name: [*answers.get(name, []), *_DEFAULTS.get(name, [])] for name in answers | _DEFAULTS}
        answers = {name: sorted(entries, key=lambda entry: not entry[0]) for name, entries in answers.items()}
        (self.bin / "answers.json").write_text(json.dumps(answers))
        (self.bin / "calls.jsonl").write_text("")

    def start(self, script, *arguments, **environment):
        command = [str(LAUNCH / script), *arguments]
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, script, *arguments, **environment):
        process = self.start(script, *arguments, **environment)
        try:
            printed, said = process.communicate(timeout=30)
        finally:
            process.kill()
        return subprocess.CompletedProcess(process.args, process.returncode, printed, said)

    def calls(self):
        """What the stand-ins were called with, without the check of the arguments before."""
        return [call for call in self._recorded() if not _checks(call)]

    def checks(self):
        """The calls that checked the arguments of the training, each as the number of devices and the arguments.

        Between both stands the number of slices.
        """
        marked = [call["arguments"] for call in self._recorded() if "--check_only" in call.get("arguments", [])]
        return [(int(words[3].removeprefix("--devices=")), words[5:]) for words in marked]

    def _recorded(self):
        return [json.loads(line) for line in (self.bin / "calls.jsonl").read_text().splitlines()]

    def lines(self):
        """The calls as words, without their stdin and environment."""
        return [[call["name"], *call["arguments"]] for call in self.calls() if "arguments" in call]

    def verbs(self):
        """The calls about queued resources, each as its verb or, on the workers, as the subcommand that runs there."""
        kinds = "create|list|scp|delete|install|start|follow|stop"
        calls = [" ".join(line) for line in self.lines() if "queued-resources" in line]
        return [re.findall(rf"\b({kinds})\b", call)[-1] for call in calls]

    def wait_for(self, word, count=1):
        """Waits until a call, or a signal that a stand-in got, has the word."""
        limit = time.monotonic() + 10
        while sum(word in line for line in (self.bin / "calls.jsonl").read_text().splitlines()) < count:
            assert time.monotonic() < limit, self.calls()
            time.sleep(0.02)


def _checks(call):
    """Whether it is the check, or asks Python whether it has the package to check with."""
    words = call.get("arguments", [])
    return call["name"] == "python" and ("--check_only" in words or words[:1] == ["-c"])


def failed(process, status, *fragments):
    """Checks that it exited with the status and a one-line error with these fragments."""
    (line,) = process.stderr.splitlines()
    assert process.returncode == status and line.startswith("error: "), (process.returncode, line)
    assert all(fragment in line for fragment in fragments), line
