"""launch/tpu, with a stand-in for gcloud: the exact calls, preemptions, interruptions, and what runs on a worker."""

import re
import shlex
import shutil
import signal
import subprocess

import pytest

from tests.launch.world import LAUNCH, MOUNTED, ROOT, TRAINING, failed

OPTIONS = ["--name=irg", "--project=p", "--zone=z", "--poll=0", "--settle=0"]
CREATE = ["--accelerator_type=v5p-128"]
ALL_WORKERS = ["--node=all", "--worker=all", "--batch-size=all"]


def queued(verb, *words):
    return ["gcloud", "compute", "tpus", "queued-resources", verb, *words, "--project=p", "--zone=z"]


def on_workers(command):
    return queued("ssh", "irg", *ALL_WORKERS, "--ssh-flag=-oServerAliveInterval=30", f"--command={command}")


@pytest.mark.parametrize(
    "options, words",
    [
        (CREATE, ["--runtime-version=v2-alpha-tpuv5", "--accelerator-type=v5p-128", "--node-id=irg"]),
        (
            ["--type=v6e", "--topology=16x16", "--slices=2", "--capacity=spot", "--service_account=me@p"],
            ["--runtime-version=v2-alpha-tpuv6e", "--type=v6e", "--topology=16x16", "--node-count=2"]
            + ["--node-prefix=irg", "--spot", "--service-account=me@p"],
        ),
        (
            ["--accelerator_type=v5litepod-16", "--capacity=reserved", "--runtime_version=mine"],
            ["--runtime-version=mine", "--accelerator-type=v5litepod-16", "--node-id=irg", "--reserved"],
        ),
    ],
)
def test_tpu_create_requests_what_the_options_say(world, options, words):
    assert world.run("tpu/tpu.sh", "create", *OPTIONS, *options).returncode == 0
    assert world.lines() == [queued("create", "irg", *words)]


def test_tpu_wait_install_run_stop_and_delete_make_these_calls(world, tmp_path):
    states = [["WAITING_FOR_RESOURCES\n", 0, 0], ["PROVISIONING\n", 0, 0], ["ACTIVE\n", 0, 0]]
    look = queued("list", "--filter=name~/irg$", "--format=value(state.state)")
    world.answer({"gcloud": [[["list"], states], [["follow"], [["[w-0] step 1\n", 7, 0]]]]})
    process = world.run("tpu/tpu.sh", "wait", *OPTIONS)
    assert process.returncode == 0
    assert process.stderr == "irg: WAITING_FOR_RESOURCES\nirg: PROVISIONING\nirg: ACTIVE\n"
    assert world.lines() == [look] * 3

    world.answer({})
    assert world.run("tpu/tpu.sh", "install", *OPTIONS).returncode == 0
    bundle = str(tmp_path / "irg_jax.irg.bundle")
    *_, bundled, copied, installed = world.lines()
    assert bundled == ["git", "-C", str(ROOT), "bundle", "create", "--quiet", bundle, "HEAD"]
    assert copied == queued("scp", bundle, "irg:irg_jax.bundle", *ALL_WORKERS)
    assert "worker.sh install" in installed[-3]

    world.answer({"gcloud": [[["follow"], [["[w-0] step 1\n", 7, 0]]]]})
    process = world.run("tpu/tpu.sh", "run", *OPTIONS, "--", *TRAINING)
    assert (process.returncode, process.stdout) == (7, "[w-0] step 1\n")
    asked, started, followed = world.lines()
    assert asked[:5] == ["gcloud", "storage", "buckets", "describe", "gs://bucket"]
    command = ["irg_jax/launch/tpu/worker.sh", "start", "--", *TRAINING]
    assert shlex.split(started[-3].removeprefix("--command=")) == command
    assert followed == on_workers("irg_jax/launch/tpu/worker.sh follow")

    world.answer({})
    world.run("tpu/tpu.sh", "stop", *OPTIONS)
    world.run("tpu/tpu.sh", "delete", *OPTIONS)
    assert world.lines() == [
        on_workers("irg_jax/launch/tpu/worker.sh stop"),
        queued("delete", "irg", "--force", "--quiet"),
    ]


def test_tpu_installs_only_what_is_committed(world):
    world.answer({"git": [[["status"], [[" M irg_jax/train.py\n", 0, 0]]]]})
    failed(world.run("tpu/tpu.sh", "install", *OPTIONS), 2, "not committed")
    assert world.verbs() == []


def train(world, *options, states, follow, **answers):
    """Runs tpu.sh train with these options, states of the queued resource, and exit statuses of training."""
    rules = [[["list"], [[f"{state}\n" if state else "", 0, 0] for state in states]]]
    rules += [[["follow"], [["", status, 0] for status in follow]]]
    rules += [[[word], [["", status, 0]]] for word, status in answers.items()]
    world.answer({"gcloud": rules})
    return world.run("tpu/tpu.sh", "train", *OPTIONS, *CREATE, *options, "--", *TRAINING)


ONE_ATTEMPT = ["list", "create", "list", "scp", "install", "start", "follow"]


def test_tpu_is_deleted_when_training_ends(world):
    assert train(world, states=["", "ACTIVE"], follow=[0]).returncode == 0
    assert world.verbs() == [*ONE_ATTEMPT, "delete"]


def test_tpu_is_requested_again_after_a_preemption_with_the_same_command(world):
    states = ["", "ACTIVE", "SUSPENDING", "SUSPENDING", "SUSPENDED", "ACTIVE"]
    process = train(world, states=states, follow=[1, 0])
    assert process.returncode == 0 and "preempted" in process.stderr
    again = ["list", "list", "delete", "create", "list", "scp", "install", "start", "follow"]
    assert world.verbs() == [*ONE_ATTEMPT, "list", *again, "delete"]
    first, second = [line for line in world.lines() if "worker.sh start" in line[-3]]
    assert first == second


def test_tpu_is_requested_again_after_a_preemption_while_waiting(world):
    states = ["", "PROVISIONING", "SUSPENDED", "SUSPENDED", "SUSPENDED", "ACTIVE"]
    assert train(world, states=states, follow=[0]).returncode == 0
    assert world.verbs().count("create") == 2


def test_tpu_training_is_followed_again_after_a_lost_connection(world):
    process = train(world, states=["", "ACTIVE"], follow=[255, 0])
    assert process.returncode == 0 and "connection lost" in process.stderr
    assert world.verbs() == [*ONE_ATTEMPT, "list", "list", "start", "follow", "delete"]


@pytest.mark.parametrize("status, looks", [(2, []), (130, ["list"])])
def test_tpu_training_ends_after_an_error_of_the_user_and_when_it_was_stopped(world, status, looks):
    process = train(world, states=["", "ACTIVE"], follow=[status])
    assert process.returncode == status and f"status {status}" in process.stderr.splitlines()[-1]
    assert world.verbs() == [*ONE_ATTEMPT, *looks, "delete"]


# Whether a failure was a preemption is asked first, except where storage answered with errors.
@pytest.mark.parametrize("status, looks", [(75, []), (1, ["list"]), (137, ["list"])])
def test_tpu_training_that_fails_runs_again_on_the_same_tpu(world, status, looks):
    process = train(world, states=["", "ACTIVE"], follow=[status, 0])
    assert process.returncode == 0 and f"status {status}; running it again" in process.stderr
    assert world.verbs() == [*ONE_ATTEMPT, *looks, "list", "list", "start", "follow", "delete"]


def test_tpu_training_that_goes_on_failing_is_given_up_after_growing_pauses(world):
    world.program(world.bin / "sleep", 'echo "$1" >>~/slept')
    process = train(world, "--poll=3", "--max_retries=6", states=["", "ACTIVE"], follow=[75])
    assert process.returncode == 75 and "retry 6 of 6" in process.stderr
    assert world.verbs().count("follow") == 7 and world.verbs()[-1] == "delete"
    assert (world.home / "slept").read_text().split() == ["3", "6", "12", "24", "48", "96"]


def test_tpu_train_refuses_what_the_workers_would_not_have_before_it_asks_for_the_tpu(world):
    line = ["tpu/tpu.sh", "train", *OPTIONS, *CREATE, "--", "--config=configs/template.py", "--workdir=gs://bucket/run"]
    world.answer({"git": [[["status"], [[" M irg_jax/train.py\n", 0, 0]]]]})
    failed(world.run(*line), 2, "changes that are not committed")
    world.answer({"git": [[["ls-files", "configs/template.py"], [["configs/template.py\n", 0, 0]]]]})
    failed(world.run(*line), 2, "--config=configs/template.py is not committed")
    assert {line[0] for line in world.lines()} == {"git"}


def test_tpu_errors_delete_what_was_created_and_say_what_was_not(world):
    refused = train(world, states=[""], follow=[0], create=1)
    assert refused.returncode == 2 and world.verbs() == ["list", "create"]
    assert "refused" in refused.stderr

    stuck = train(world, states=["", "ACTIVE"], follow=[0], delete=1)
    assert "NOT deleted and costs money" in stuck.stderr

    failing = train(world, states=["", "FAILED"], follow=[0])
    assert failing.returncode == 2 and world.verbs() == ["list", "create", "list", "delete"]

    world.answer({"gcloud": [[["list"], [["", 1, 0]]]]})
    failed(world.run("tpu/tpu.sh", "wait", *OPTIONS), 2, "cannot be read")


@pytest.mark.parametrize(
    "subcommand, number, status, verbs",
    [
        ("train", signal.SIGINT, 130, [*ONE_ATTEMPT, "stop", "delete"]),
        ("train", signal.SIGTERM, 143, [*ONE_ATTEMPT, "stop", "delete"]),
        ("run", signal.SIGINT, 130, ["start", "follow"]),
    ],
)
def test_tpu_interrupt_saves_and_deletes_in_train_and_leaves_run_running(world, subcommand, number, status, verbs):
    # Training exits a moment after the signal.
    states, follow = [["", 0, 0], ["ACTIVE\n", 0, 0]], [["", 130, 1]]
    world.answer({"gcloud": [[["list"], states], [["follow"], follow]]})
    options = [*OPTIONS, *(CREATE if subcommand == "train" else [])]
    process = world.start("tpu/tpu.sh", subcommand, *options, "--", *TRAINING)
    world.wait_for("follow")
    process.send_signal(number)
    assert process.wait(10) == status
    assert world.verbs() == verbs
    # The stream is stopped if training continues, and otherwise read to its end.
    if subcommand == "run":
        world.wait_for('"signal"')
    assert any("signal" in call for call in world.calls()) == (subcommand == "run")


def test_tpu_interrupt_while_waiting_deletes(world):
    world.answer({"gcloud": [[["list"], [["", 0, 0], ["PROVISIONING\n", 0, 0]]]]})
    process = world.start("tpu/tpu.sh", "train", *OPTIONS, *CREATE, "--", *TRAINING)
    world.wait_for("list", count=3)
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 130
    verbs = world.verbs()
    assert verbs[-1] == "delete" and verbs.count("delete") == 1 and "stop" not in verbs


def on_worker(world, line):
    """Runs a line of shell as tpu.sh does on a worker."""
    command = ["bash", "-c", line]
    return subprocess.run(command, cwd=world.home, env=world.environment, capture_output=True, text=True, timeout=30)


def test_worker_checks_out_the_bundle_and_installs_it(world):
    source = world.home.parent / "source"
    shutil.copytree(LAUNCH, source / "launch")
    (world.bin / "git").unlink()
    git = ["git", "-C", str(source), "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "a"]):
        subprocess.run([*git, *command], check=True)
    subprocess.run([*git, "bundle", "create", "-q", str(world.home / "irg_jax.bundle"), "HEAD"], check=True)

    dry = world.run("tpu/tpu.sh", "install", *OPTIONS, "--dry_run").stdout.splitlines()[-1]
    (command,) = [word.removeprefix("--command=") for word in shlex.split(dry) if word.startswith("--command=")]
    for _ in range(2):  # installing the same commit again is not an error
        done = on_worker(world, command)
        assert done.returncode == 0, done.stderr
    installed = next(line for line in reversed(world.lines()) if line[0] == "uv")
    assert installed[:3] == ["uv", "pip", "install"] and f"--editable={world.home}/irg_jax[tpu]" in installed


def test_worker_installs_gcsfuse_if_it_is_missing(world):
    assert on_worker(world, f"{LAUNCH}/tpu/worker.sh install").returncode == 0
    assert not any(line[0] == "sudo" for line in world.lines())
    (world.bin / "gcsfuse").unlink()
    world.answer({})
    assert on_worker(world, f"{LAUNCH}/tpu/worker.sh install").returncode == 0
    *_, source, updated, installed = [line for line in world.lines() if line[0] == "sudo"]
    assert "signed-by=" in source[-1] and updated[-1] == "update"
    assert re.fullmatch(r"gcsfuse=\d+\.\d+\.\d+", installed[-1])


def test_worker_mounts_each_bucket_once(world):
    start = shlex.join([str(LAUNCH / "tpu/worker.sh"), "start", "--", *TRAINING])
    assert on_worker(world, start).returncode == 0
    mounts = [line for line in world.lines() if line[0] == "gcsfuse"]
    assert [line[-2:] for line in mounts] == [["bucket", "/gcs/bucket"], ["my_data.set", "/gcs/my_data.set"]]
    options = ["metadata-cache-ttl-secs=0", "metadata-cache-negative-ttl-secs=0", "rename-dir-limit=0"]
    assert mounts[0][1:-2] == ["--implicit-dirs", *(f"--{option}" for option in options)]

    world.wait_for("irg_jax.train")
    on_worker(world, f"{LAUNCH}/tpu/worker.sh follow")
    world.answer({"mountpoint": [[[], [["", 0, 0]]]]})
    assert on_worker(world, start).returncode == 0
    assert not {line[0] for line in world.lines()} & {"gcsfuse", "sudo", "fusermount"}


def test_worker_that_cannot_mount_a_bucket_does_not_train(world):
    world.answer({"gcsfuse": [[[], [["", 1, 0]]]]})
    start = shlex.join([str(LAUNCH / "tpu/worker.sh"), "start", "--", *TRAINING])
    failed(on_worker(world, start), 2, "gs://bucket cannot be mounted")
    assert not any(line[0] == "python" for line in world.lines())
    # After a first training it is the storage that fails, and is worth another try.
    (world.home / ".irg_jax/command").touch()
    failed(on_worker(world, start), 75, "gs://bucket cannot be mounted")


def test_worker_training_outlives_the_connection(world):
    script = str(LAUNCH / "tpu/worker.sh")
    start = shlex.join([script, "start", "--", *TRAINING])
    failed(on_worker(world, f"{script} follow"), 2, "no training was started")

    world.answer({"python": [[["irg_jax.train"], [["step 1\n", 9, 1]]]]})
    for _ in range(2):  # a running training is not started again
        assert on_worker(world, start).returncode == 0
    failed(on_worker(world, f"{script} start -- --config=other"), 2, "another training is running", "stop")
    followed = on_worker(world, f"{script} follow")
    assert followed.returncode == 9 and re.fullmatch(r"\[.+\] step 1\n", followed.stdout)
    (call,) = [call for call in world.calls() if call["name"] == "python"]
    assert call["arguments"] == ["-m", "irg_jax.train", *MOUNTED]
    assert call["environment"]["IRG_DISTRIBUTED"] == "auto" and "--xla" in call["environment"]["LIBTPU_INIT_ARGS"]

    world.answer({"python": [[["irg_jax.train"], [["", 0, 30]]]]})
    on_worker(world, start)
    world.wait_for("irg_jax.train")
    assert on_worker(world, f"{script} stop").returncode == 0
    assert world.calls()[-1]["signal"] == "SIGTERM"
    assert on_worker(world, f"{script} follow").returncode == 130
