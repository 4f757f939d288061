"""launch/quickstart.sh and launch/test.sh with stand-ins for Python and uv: set-up, its repair, arguments, status."""

import os
import shutil
import signal
import subprocess
import sys

import pytest

from tests.launch.world import LAUNCH, ROOT, failed

SCRIPTS = ["quickstart.sh", "test.sh"]
# The only programs that the scripts use, besides Python and uv.
TOOLS = ["awk", "bash", "cat", "dirname", "env", "ls", "mkdir", "rm"]
# An interpreter. `probe` answers `-ISc CODE`, `-m venv` makes an environment with the same interpreter, and the stub
# records all other calls: as `interpreter`, or as `python` where the environment's python is called.
PYTHON = """
case "$1 $2" in
  -ISc*) {probe} ;;
  "-m venv") mkdir -p "$3/bin" && : >"$3/pyvenv.cfg" && ln -sf "$0" "$3/bin/python" ;;
  "-m irg_jax.train" | "-m pytest") pwd >"{home}/folder" ;;
esac
if [[ $0 == */bin/python ]]; then exec "{bin}/python" "$@"; else exec "{bin}/interpreter" "$@"; fi
"""
UV = """
if [[ $1 == venv ]]; then
  while (($# > 1)); do if [[ $1 == --python ]]; then python=$2; fi; shift; done
  mkdir -p "$1/bin" && : >"$1/pyvenv.cfg" && ln -sf "{bin}/python3.11" "$1/bin/python"
  exec "{stub}" venv "$python" "$1"
fi
exec "{stub}" "$@"
"""


class Clone:
    """A clone of the repository in a folder with a space in its name, and a PATH with nothing but stand-ins."""

    def __init__(self, world, folder):
        self.world, self.root, self.elsewhere = world, folder / "my clone", folder / "else where"
        self.venv, self.tools, self.uv = self.root / ".venv", folder / "tools", folder / "uv"
        shutil.copytree(LAUNCH, self.root / "launch")
        for name in ("setup.py", "pyproject.toml"):
            shutil.copy(ROOT / name, self.root)
        self.tools.mkdir()
        self.elsewhere.mkdir()
        for name in [*TOOLS, "ln", "pwd", "sed"]:
            (self.tools / name).symlink_to(shutil.which(name))
        for name in ("python3", "uv"):
            (world.bin / name).unlink()
        (world.bin / "interpreter").symlink_to("stub")
        self.uv_stub = world.bin / "uv-stub"
        self.uv_stub.symlink_to("stub")
        world.environment = {"HOME": str(world.home), "PATH": f"{world.home.parent}/path:{self.tools}"}
        self.path = world.home.parent / "path"
        self.path.mkdir()
        self.interpreter("python3.11")

    def interpreter(self, name, probe=""):
        """Puts an interpreter on the PATH: the one that runs the tests, or one whose -ISc is that shell command."""
        probe = probe or f'exec "{sys.executable}" "$@"'
        text = PYTHON.format(probe=probe, home=self.world.home, bin=self.world.bin)
        self.world.program(self.path / name, text)
        return self.path / name

    def other_version(self, name):
        """Puts an interpreter of another version on the PATH."""
        return self.interpreter(name, f'"{sys.executable}" "$@" | sed "s/cpython-[0-9]*/cpython-399/"; exit')

    def install_uv(self):
        text = UV.format(bin=self.path, stub=self.uv_stub)
        self.world.program(self.path / "uv", text)

    def start(self, script, *arguments, cwd=None, **environment):
        return subprocess.Popen(
            [self.root / "launch" / script, *arguments],
            cwd=cwd or self.elsewhere,
            env=self.world.environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, script, *arguments, cwd=None, **environment):
        process = self.start(script, *arguments, cwd=cwd, **environment)
        printed, said = process.communicate(timeout=30)
        return subprocess.CompletedProcess(process.args, process.returncode, printed, said)

    def installations(self):
        """The arguments of every installation so far, from the word `install` on."""
        lines = [line for line in self.world.lines() if "install" in line]
        return [line[line.index("install") :] for line in lines]

    def last_call(self):
        return self.world.lines()[-1]

    def forget(self):
        """Forgets the calls so far, and the answers."""
        self.world.answer({})


@pytest.fixture
def clone(world, tmp_path):
    return Clone(world, tmp_path)


# --- the commands


def test_quickstart_trains_the_shipped_config_in_the_clone(clone):
    done = clone.run("quickstart.sh")
    assert done.returncode == 0, done.stderr
    workdir = str(clone.root / "runs/quickstart")
    train = ["python", "-m", "irg_jax.train", "--config", "shapes_quickstart", "--workdir"]
    assert clone.last_call() == [*train, workdir]
    assert (clone.world.home / "folder").read_text().strip() == str(clone.elsewhere)

    clone.run("quickstart.sh", cwd=clone.root)
    assert clone.last_call() == [*train, "runs/quickstart"]


@pytest.mark.parametrize(
    "arguments, defaults",
    [
        (["--config.note=a 'b' $HOME *"], ["--config", "shapes_quickstart", "--workdir", "runs/quickstart"]),
        (["--workdir=my run"], ["--config", "shapes_quickstart"]),
        (["--workdir", "my run"], ["--config", "shapes_quickstart"]),
        (["--config", "midsize", "--config.steps=1"], ["--workdir", "runs/quickstart"]),
        (["--config=midsize", "--workdir=my run"], []),
    ],
)
def test_quickstart_passes_its_arguments_on(clone, arguments, defaults):
    assert clone.run("quickstart.sh", *arguments, cwd=clone.root).returncode == 0
    assert clone.last_call() == ["python", "-m", "irg_jax.train", *defaults, *arguments]


@pytest.mark.parametrize("arguments", [["--workdir=my run"], ["--workdir", "my run"]])
def test_quickstart_names_the_results_that_the_run_has(clone, arguments):
    folder = clone.elsewhere / "my run"
    assert "my run" not in clone.run("quickstart.sh", *arguments).stdout
    (folder / "samples").mkdir(parents=True)
    (folder / "report.html").touch()
    lines = clone.run("quickstart.sh", *arguments).stdout.split("\n")
    assert [line.partition(": ")[0] for line in lines if line] == ["my run/report.html", "my run/samples"]


def test_the_tests_run_in_the_clone_with_the_given_arguments(clone):
    assert clone.run("test.sh", "tests/core", "-k", "a or b").returncode == 0
    assert clone.last_call() == ["python", "-m", "pytest", "-n", "2", "tests/core", "-k", "a or b"]
    assert (clone.world.home / "folder").read_text().strip() == str(clone.root)


@pytest.mark.parametrize("script, module", [("quickstart.sh", "irg_jax.train"), ("test.sh", "pytest")])
def test_the_exit_status_is_passed_on(clone, script, module):
    clone.world.answer({"python": [[[module], [["", 7, 0]]]]})
    done = clone.run(script)
    assert done.returncode == 7 and done.stdout == ""


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_is_printed_before_anything_is_set_up(clone, script):
    done = clone.run(script, "--help")
    assert done.returncode == 0 and f"usage: launch/{script}" in done.stdout and "IRG_VENV" in done.stdout
    assert clone.world.calls() == [] and not clone.venv.exists()


# --- set-up


@pytest.mark.parametrize("uv", [False, True])
def test_set_up_is_done_once_and_the_extra_of_the_tests_is_added_later(clone, uv):
    if uv:
        clone.install_uv()
    done = clone.run("quickstart.sh")
    assert done.stderr == f"setting up {clone.venv} (takes a minute or two, once) ...\n"
    (made,) = [line for line in clone.world.lines() if "venv" in line]
    assert made[-1] == str(clone.venv) and made[0] == ("uv-stub" if uv else "interpreter")
    (installed,) = clone.installations()
    assert installed[-2:] == ["--editable", "."]

    clone.forget()
    assert clone.run("quickstart.sh").stderr == ""
    assert [line[:3] for line in clone.world.lines()] == [["python", "-m", "irg_jax.train"]]

    clone.forget()
    clone.run("test.sh")
    (installed,) = clone.installations()
    assert installed[-2:] == ["--editable", ".[test]"] and not any("venv" in line for line in clone.world.lines())

    clone.forget()
    for script in SCRIPTS:
        assert clone.run(script).stderr == ""
    assert [line[2] for line in clone.world.lines()] == ["irg_jax.train", "pytest"]


def test_uv_is_preferred_and_gets_the_same_interpreter(clone):
    clone.install_uv()
    clone.run("test.sh")
    made, installed, _ = clone.world.lines()
    # What `python3.11` really is: here, the interpreter behind the stand-in.
    assert made == ["uv-stub", "venv", sys.executable, str(clone.venv)]
    python = str(clone.venv / "bin/python")
    assert installed == ["uv-stub", "pip", "install", "--quiet", "--python", python, "--editable", ".[test]"]


@pytest.mark.parametrize("name", ["setup.py", "pyproject.toml"])
def test_changed_dependencies_are_installed_into_the_same_environment(clone, name):
    clone.run("quickstart.sh")
    (clone.venv / "mine").touch()
    clone.forget()
    with (clone.root / name).open("a") as file:
        file.write("# changed\n")
    clone.run("quickstart.sh")
    (installed,) = clone.installations()
    assert "--force-reinstall" not in installed and (clone.venv / "mine").exists()
    assert not any("venv" in line for line in clone.world.lines())


def test_an_environment_made_by_hand_is_kept(clone):
    subprocess.run([clone.path / "python3.11", "-m", "venv", clone.venv], env=clone.world.environment, check=True)
    (clone.venv / "mine").touch()
    clone.forget()
    assert clone.run("test.sh").returncode == 0
    assert len(clone.installations()) == 1 and (clone.venv / "mine").exists()


def test_a_clone_that_was_moved_is_installed_again(clone):
    clone.run("quickstart.sh")
    clone.forget()
    moved = clone.root.rename(clone.root.parent / "moved")
    clone.root, clone.venv = moved, moved / ".venv"
    clone.run("quickstart.sh")
    assert len(clone.installations()) == 1


# --- interruptions and failures


@pytest.mark.parametrize("uv, option", [(False, "--force-reinstall"), (True, "--reinstall")])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_installation_is_repaired(clone, uv, option, number):
    if uv:
        clone.install_uv()
    slow = [["--editable"], [["", 0, 30]]]
    clone.world.answer({"python": [slow], "uv-stub": [slow]})
    process = clone.start("test.sh")
    clone.world.wait_for('"install"')
    os.killpg(process.pid, number)
    process.communicate(timeout=10)
    assert process.returncode != 0 and not any("pytest" in line for line in clone.world.lines())

    clone.forget()
    assert clone.run("test.sh").returncode == 0
    (installed,) = clone.installations()
    assert option in installed and clone.last_call()[:3] == ["python", "-m", "pytest"]
    clone.forget()
    clone.run("test.sh")
    assert clone.installations() == []


def test_an_environment_that_was_not_finished_is_made_anew(clone):
    # Killed before the environment has a python.
    clone.world.program(clone.path / "python3.11", f'case "$1" in -ISc) exec "{sys.executable}" "$@" ;; esac; kill 0')
    assert clone.run("quickstart.sh").returncode != 0
    assert clone.venv.exists() and not (clone.venv / "bin").exists()
    clone.interpreter("python3.11")
    assert clone.run("quickstart.sh").returncode == 0
    assert clone.last_call()[:3] == ["python", "-m", "irg_jax.train"]


def test_pip_is_added_where_an_environment_has_none(clone):
    clone.world.answer({"python": [[["--version"], [["", 1, 0]]]]})
    assert clone.run("quickstart.sh").returncode == 0
    assert [line[2:4] for line in clone.world.lines() if line[0] == "python"] == [
        ["pip", "--version"],
        ["ensurepip", "--upgrade"],
        ["pip", "install"],
        ["irg_jax.train", "--config"],
    ]


@pytest.mark.parametrize("word, text", [("venv", "cannot be made"), ("--editable", "installation failed")])
def test_a_failed_set_up_ends_with_one_line_and_is_tried_again(clone, word, text):
    clone.world.answer({name: [[[word], [["", 1, 0]]]] for name in ("interpreter", "python")})
    done = clone.run("quickstart.sh")
    assert done.returncode == 2
    _, line = done.stderr.splitlines()
    assert line.startswith("error: ") and text in line
    assert not any("irg_jax.train" in line for line in clone.world.lines())
    clone.forget()
    assert clone.run("quickstart.sh").returncode == 0 and len(clone.installations()) == 1


# --- which Python, which folder


def test_the_newest_python_that_runs_is_used(clone):
    clone.interpreter("python3.14", "exit 127")  # a shim of a version that is not active
    newest = clone.other_version("python3.13")
    clone.interpreter("python3")
    clone.run("quickstart.sh")
    assert os.readlink(clone.venv / "bin/python") == str(newest)


def test_a_working_environment_is_kept_when_a_newer_python_appears(clone):
    clone.run("quickstart.sh")
    clone.forget()
    clone.other_version("python3.13")
    clone.run("quickstart.sh")
    assert clone.installations() == []


def test_the_interpreter_in_PYTHON_is_used_and_replaces_another_version(clone):
    mine = clone.other_version("my python")
    clone.run("quickstart.sh")
    clone.forget()
    for _ in range(2):
        assert clone.run("quickstart.sh", PYTHON=str(mine)).returncode == 0
        assert os.readlink(clone.venv / "bin/python") == str(mine)
    assert len(clone.installations()) == 1


def test_an_environment_whose_python_is_gone_is_made_anew(clone):
    old = clone.other_version("python3.13")
    clone.run("quickstart.sh")
    old.unlink()
    clone.forget()
    assert clone.run("quickstart.sh").returncode == 0
    assert os.readlink(clone.venv / "bin/python") == str(clone.path / "python3.11")
    assert len(clone.installations()) == 1


@pytest.mark.parametrize("script", SCRIPTS)
def test_without_a_new_enough_python_the_error_is_one_line(clone, script):
    (clone.path / "python3.11").unlink()
    clone.interpreter("python3", "exit 1")
    failed(clone.run(script), 2, "no Python 3.11 or newer", "PYTHON=")
    failed(clone.run(script, PYTHON="python3"), 2, "PYTHON=python3", "3.11")
    failed(clone.run(script, PYTHON="nowhere"), 2, "PYTHON=nowhere")
    assert clone.world.calls() == [] and not clone.venv.exists()


def test_the_environment_is_in_the_folder_that_IRG_VENV_names(clone):
    assert clone.run("quickstart.sh", IRG_VENV="my venv").returncode == 0
    assert (clone.elsewhere / "my venv/bin/python").exists() and not clone.venv.exists()


def test_a_folder_with_other_files_does_not_become_an_environment(clone):
    (clone.elsewhere / "thesis.tex").touch()
    failed(clone.run("quickstart.sh", IRG_VENV="."), 2, "not a virtual environment")
    assert list(clone.elsewhere.iterdir()) == [clone.elsewhere / "thesis.tex"] and clone.world.calls() == []
