"""The launchers, with stand-ins for the programs of the clusters: help, dry runs, errors; GKE, containers.

Cloud TPU is in test_tpu.py, Slurm in test_slurm.py, local.sh in test_local.py, and quickstart.sh and test.sh in
test_quickstart.py.
"""

import ast
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

import pytest
import yaml
from packaging.requirements import Requirement

from tests.launch.world import FOLDERS, LAUNCH, MOUNTED, ROOT, TRAINING, failed

TPU = ["--name=irg", "--project=p", "--zone=z", "--poll=0", "--settle=0"]
CREATE = ["--accelerator_type=v5p-128"]
JOBSET = ["--name=irg", "--image=registry/irg:1", "--accelerator=v5p", "--topology=4x4x4"]
XPK = ["--name=irg", "--cluster=c", "--project=p", "--zone=z", "--tpu_type=v5p-128", "--image=registry/irg:1"]
# A command line of each launcher: its own arguments, and those of the training.
WHOLE = {
    "local.sh": (["--port=1"], FOLDERS),
    "tpu/tpu.sh": (["train", *TPU, "--accelerator_type=v5p-128"], TRAINING),
    "tpu/worker.sh": (["install"], []),
    "gke/jobset.sh": (JOBSET, TRAINING),
    "gke/xpk.sh": (XPK, TRAINING),
    "slurm/submit.sh": (["--partition=gpu"], FOLDERS),
    "slurm/train.sbatch": ([], FOLDERS),
}
# The queued resource does not exist before create, and is active after it.
CREATED = {"gcloud": [[["list"], [["", 0, 0], ["ACTIVE\n", 0, 0]]]]}


# --- every script


def test_shellcheck_finds_nothing():
    tool = shutil.which("shellcheck", path=f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}")
    if tool is None:
        pytest.skip("shellcheck is not installed")
    scripts = [*LAUNCH.glob("**/*.sh"), *LAUNCH.glob("**/*.sbatch"), ROOT / ".ci/run"]
    checked = subprocess.run([tool, *scripts], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("script", WHOLE)
def test_secrets_of_the_environment_are_in_no_command_line(world, script):
    own, training = WHOLE[script]
    world.answer(CREATED)
    secrets = {"HF_TOKEN": "s3cret", "GOOGLE_APPLICATION_CREDENTIALS": "s3cret", "WANDB_API_KEY": "s3cret"}
    assert world.run(script, *own, "--", *training, **secrets).returncode == 0
    assert world.calls() and "s3cret" not in str(world.calls())


@pytest.mark.parametrize("script", WHOLE)
def test_help_lists_every_option_and_calls_nothing(world, script):
    process = world.run(script, "--help")
    text = (LAUNCH / script).read_text()
    known = " ".join(re.findall(r'^(?:parse|options\+?=)\s*"([^$]*?)"', text, re.MULTILINE)).split()
    known += ["dry_run", "help", *(["unchecked"] if "launch/check.sh" in text else [])]
    assert process.returncode == 0 and process.stderr == "" and world.calls() == []
    assert [name for name in known if f"--{name}" not in process.stdout] == []


@pytest.mark.parametrize("script", WHOLE)
def test_a_dry_run_prints_the_calls_that_are_made(world, script):
    own, training = WHOLE[script]
    world.answer(CREATED)
    dry = world.run(script, *own, "--dry_run", "--", *training)
    assert dry.returncode == 0 and dry.stdout and world.calls() == []
    assert [arguments for _, arguments in world.checks()] == [training] * ("check.sh" in (LAUNCH / script).read_text())

    subprocess.run(["bash", "-c", dry.stdout], cwd=ROOT, env=world.environment, check=True, capture_output=True)
    printed = world.calls()
    world.answer(CREATED)
    assert world.run(script, *own, "--", *training).returncode == 0
    # The processes of local.sh start in any order.
    made, printed = (sorted(calls, key=str) if script == "local.sh" else calls for calls in (world.calls(), printed))
    assert made == printed and made


@pytest.mark.parametrize(
    "script, arguments, fragments",
    [
        ("local.sh", ["--processes=0", "--", "x"], ["--processes=0"]),
        ("local.sh", [], ["--config and --workdir after --"]),
        ("local.sh", ["--typo=1"], ["--typo", "no such option", "--help"]),
        ("local.sh", ["--config=x"], ["--config", "no such option"]),
        ("local.sh", ["--devices"], ["--devices", "value is missing"]),
        ("local.sh", ["--max_restarts=-1"], ["--max_restarts=-1", "whole number"]),
        ("local.sh", ["train"], ["'train'", "after --"]),
        ("tpu/tpu.sh", [], ["not a subcommand", "--help"]),
        ("tpu/tpu.sh", ["create", "--name=irg", "--project=p"], ["--zone is missing"]),
        ("tpu/tpu.sh", ["create", *TPU], ["--accelerator_type", "--topology"]),
        ("tpu/tpu.sh", ["create", *TPU, *CREATE, "--type=v5p", "--topology=4x4x4"], ["either"]),
        ("tpu/tpu.sh", ["create", *TPU, *CREATE, "--capacity=free"], ["--capacity=free", "spot"]),
        ("tpu/tpu.sh", ["create", *TPU, "--accelerator_type=x9-8"], ["x9-8", "--runtime_version"]),
        ("tpu/tpu.sh", ["create", *TPU, *CREATE, "--slices=two"], ["--slices=two"]),
        ("tpu/tpu.sh", ["delete", *TPU, "--name=a/b"], ["--name=a/b"]),
        ("tpu/tpu.sh", ["run", *TPU, "--", "--workdir=runs/a"], ["--workdir", "gs://", "mounted"]),
        ("tpu/worker.sh", ["start", "--", "--workdir=gs:///run"], ["'--workdir=gs:///run'", "no bucket name"]),
        ("tpu/tpu.sh", ["train", *TPU, "--accelerator_type=x9-8", "--runtime_version=r", "--", *TRAINING], ["'x9-8'"]),
        ("tpu/worker.sh", ["dance"], ["'dance'"]),
        ("tpu/worker.sh", ["start", "--unchecked"], ["--unchecked: no such option"]),
        ("gke/jobset.sh", ["--name=irg"], ["--image is missing"]),
        ("gke/jobset.sh", [*JOBSET, "--accelerator=h100", "--", *TRAINING], ["h100", "v5p"]),
        ("gke/jobset.sh", [*JOBSET, "--topology=4by4", "--", *TRAINING], ["4by4"]),
        ("gke/jobset.sh", [*JOBSET, "--topology=3x3", "--", *TRAINING], ["9 chips", "--chips_per_node=4"]),
        ("gke/jobset.sh", [*JOBSET, "--name=Big", "--", *TRAINING], ["--name=Big"]),
        ("gke/jobset.sh", [*JOBSET, "--", "--workdir=runs/a"], ["gs://"]),
        ("gke/xpk.sh", [*XPK, "--", *TRAINING, "two\nlines"], ["line break"]),
        ("gke/xpk.sh", [*XPK, "--tpu_type=v5p", "--", *TRAINING], ["'v5p'", "--unchecked"]),
        ("slurm/submit.sh", ["--process_per=rack", "--", "x"], ["--process_per=rack"]),
        ("slurm/submit.sh", ["--", "--workdir=gs://b/run"], ["'--workdir=gs://b/run'", "mount it"]),
        ("slurm/train.sbatch", ["--", "--workdir=gs://b/run"], ["'--workdir=gs://b/run'", "mount it"]),
        ("local.sh", ["--", "--workdir=gs://b/run"], ["'--workdir=gs://b/run'", "mount it"]),
    ],
)
def test_wrong_arguments_are_refused_in_one_line_before_anything_is_called(world, script, arguments, fragments):
    failed(world.run(script, *arguments), 2, *fragments)
    assert world.calls() == []


def test_a_missing_program_is_named(world, tmp_path):
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("bash", "dirname"):
        (bare / name).symlink_to(shutil.which(name))
    for script, name in (("local.sh", "python"), ("gke/xpk.sh", "xpk"), ("slurm/submit.sh", "sbatch")):
        own, training = WHOLE[script]
        failed(world.run(script, *own, "--", *training, PATH=str(bare)), 2, f"{name} is not on the PATH")


# --- the check of the arguments


@pytest.mark.parametrize(
    "script, options, devices",
    [
        ("local.sh", ["--processes=3", "--devices=4"], 12),
        ("slurm/submit.sh", ["--nodes=4", "--gpus_per_node=8"], 32),
        ("gke/jobset.sh", [*JOBSET, "--slices=2"], 128),
        ("gke/jobset.sh", [*JOBSET, "--accelerator=v5e", "--topology=2x4"], 8),
        # Each core of a TPU7x chip is a device.
        ("gke/jobset.sh", [*JOBSET, "--accelerator=tpu7x", "--topology=2x2x2"], 16),
        # The number in the names of v4, v5p and TPU7x counts cores, that of v5e and v6e chips.
        ("gke/xpk.sh", [*XPK, "--slices=2"], 128),
        ("gke/xpk.sh", [*XPK, "--tpu_type=tpu7x-64"], 64),
        ("gke/xpk.sh", [*XPK, "--tpu_type=v6e-4x4"], 16),
        ("tpu/tpu.sh", ["train", *TPU, "--accelerator_type=v4-16"], 8),
        ("tpu/tpu.sh", ["train", *TPU, "--accelerator_type=v5litepod-16"], 16),
        ("tpu/tpu.sh", ["train", *TPU, "--accelerator_type=v6e-64", "--slices=2"], 128),
        ("tpu/tpu.sh", ["create", *TPU, "--type=v5p", "--topology=2x2x4"], 16),
    ],
)
def test_arguments_are_checked_for_the_devices_before_anything_is_called(world, script, options, devices):
    refused = "config.data.batch_size: 8 rows do not divide"
    world.answer({"python": [[["--check_only"], [["error: " + refused + "\n", 2, 0]]]]})
    arguments = FOLDERS if script in ("local.sh", "slurm/submit.sh") else TRAINING
    failed(world.run(script, *options, "--", *arguments), 2, refused)
    assert world.checks() == [(devices, arguments)] and world.calls() == []


def test_the_check_needs_a_python_with_the_package_and_can_be_left_out(world, tmp_path):
    line = ["gke/xpk.sh", *XPK, "--", *TRAINING]
    world.answer({"python": [[["find_spec"], [["", 1, 0]]]]})
    failed(world.run(*line, IRG_VENV=str(tmp_path)), 2, "not installed", "pip install --editable", "--unchecked")
    assert world.run(*line[:1], "--unchecked", *line[1:]).returncode == 0 and world.checks() == []
    # The environment that launch/quickstart.sh makes.
    (tmp_path / "venv/bin").mkdir(parents=True)
    world.program(tmp_path / "venv/bin/python", f'[[ $1 == -c ]] || echo "$PWD: $*" >"{tmp_path}/checked"')
    assert world.run(*line, IRG_VENV=str(tmp_path / "venv")).returncode == 0
    # A config is found from the root of the checkout, as on the machines that train.
    checked = f"{ROOT}: -m irg_jax.train --check_only --devices=64 --slices=1 --config="
    assert (tmp_path / "checked").read_text().startswith(checked)


def test_a_check_that_crashes_is_not_an_error_of_the_arguments(world):
    world.answer({"python": [[["--check_only"], [["", 1, 0]]]]})
    failed(world.run("slurm/submit.sh", "--", *FOLDERS), 2, "the check of the arguments ended with status 1")


# --- buckets


BUCKETS = {"tpu/tpu.sh": ["run", *TPU], "gke/jobset.sh": JOBSET, "gke/xpk.sh": XPK}
OPTIONS = "implicit-dirs,metadata-cache-ttl-secs=0,metadata-cache-negative-ttl-secs=0,rename-dir-limit=0"


@pytest.mark.parametrize("script", BUCKETS)
@pytest.mark.parametrize(
    "answer, fragments",
    [(["\n", 0, 0], ["gs://bucket", "hierarchical namespace", "README"]), (["", 1, 0], ["gs://bucket cannot be read"])],
)
def test_a_bucket_without_atomic_renames_is_refused_first(world, script, answer, fragments):
    world.answer({"gcloud": [[["buckets"], [answer]]]})
    failed(world.run(script, *BUCKETS[script], "--", *TRAINING), 2, *fragments)
    (call,) = world.lines()
    assert call[:5] == ["gcloud", "storage", "buckets", "describe", "gs://bucket"]


@pytest.mark.parametrize("script", BUCKETS)
def test_a_mounted_workdir_needs_no_bucket(world, script):
    assert world.run(script, *BUCKETS[script], "--", "--config=a", "--workdir", "/shared/run").returncode == 0
    *_, last = world.calls()
    assert not any(line[:2] in (["gcloud", "storage"], ["xpk", "storage"]) for line in world.lines())
    assert "/gcs/" not in str(last) and "gcsfuse.csi" not in str(last)


# --- GKE


def test_jobset_has_the_nodes_chips_and_command(world):
    assert world.run("gke/jobset.sh", *JOBSET, "--slices=2", "--namespace=a", "--", *TRAINING, "$(X)").returncode == 0
    _, call = world.calls()
    assert call["arguments"] == ["apply", "--namespace=a", "--filename=-"]
    jobset = yaml.safe_load(call["stdin"])
    (replicated,) = jobset["spec"]["replicatedJobs"]
    job = replicated["template"]["spec"]
    pod = job["template"]["spec"]
    (container,) = pod["containers"]
    assert jobset["metadata"]["name"] == "irg" and replicated["replicas"] == 2
    # 64 chips, 4 per node.
    assert job["parallelism"] == job["completions"] == 16
    assert container["resources"]["limits"] == {"google.com/tpu": 4}
    assert pod["nodeSelector"] == {
        "cloud.google.com/gke-tpu-accelerator": "tpu-v5p-slice",
        "cloud.google.com/gke-tpu-topology": "4x4x4",
    }
    # Kubernetes turns $$( into $(.
    assert container["command"] == ["python", "-m", "irg_jax.train", *MOUNTED, "$$(X)"]
    assert {variable["name"] for variable in container["env"]} == {"IRG_DISTRIBUTED", "LIBTPU_INIT_ARGS"}


def test_jobset_mounts_each_bucket_once(world):
    world.run("gke/jobset.sh", *JOBSET, "--", *TRAINING, "--config.init_from=gs://bucket/other")
    spec = yaml.safe_load(world.calls()[-1]["stdin"])["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]
    pod = spec["spec"]
    assert spec["metadata"]["annotations"]["gke-gcsfuse/volumes"] == "true"
    folders = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    assert {volume["csi"]["driver"] for volume in pod["volumes"]} == {"gcsfuse.csi.storage.gke.io"}
    sources = {volume["name"]: volume["csi"]["volumeAttributes"] for volume in pod["volumes"]}
    mounted = {folders[name]: source["bucketName"] for name, source in sources.items()}
    assert mounted == {"/gcs/bucket": "bucket", "/gcs/my_data.set": "my_data.set"}
    assert {source["mountOptions"] for source in sources.values()} == {OPTIONS}
    # Otherwise a pod on the network of its node uses the node's service account.
    assert pod["hostNetwork"] and {source["hostNetworkPodKSA"] for source in sources.values()} == {"true"}


@pytest.mark.parametrize("status, ends", [(1, False), (2, True), (75, False), (130, False), (137, False)])
def test_jobset_ends_after_an_error_of_the_user_and_restarts_after_anything_else(world, status, ends):
    world.run("gke/jobset.sh", *JOBSET, "--", *TRAINING)
    spec = yaml.safe_load(world.calls()[-1]["stdin"])["spec"]
    job = spec["replicatedJobs"][0]["template"]["spec"]
    # A preempted pod counts, whatever its status was; as others do that no rule mentions.
    disrupted, user_error = job["podFailurePolicy"]["rules"]
    assert (disrupted["action"], disrupted["onPodConditions"][0]["type"]) == ("Count", "DisruptionTarget")
    codes = user_error["onExitCodes"]
    assert codes["operator"] == "In" and codes["containerName"] == job["template"]["spec"]["containers"][0]["name"]
    action = user_error["action"] if status in codes["values"] else "Count"
    # A job fails by FailJob, or after its first failed pod; then the first rule of the set for that reason is taken.
    assert job["backoffLimit"] == 0
    reason = {"FailJob": "PodFailurePolicy", "Count": "BackoffLimitExceeded"}[action]
    (rule,) = spec["failurePolicy"]["rules"]
    assert (reason in rule["onJobFailureReasons"] and rule["action"] == "FailJobSet") == ends
    assert spec["failurePolicy"]["maxRestarts"] == 100


def test_xpk_creates_the_workload_with_the_command(world):
    world.answer({"xpk": [[["workload"], [["", 3, 0]]]]})
    assert world.run("gke/xpk.sh", *XPK, "--slices=2", "--", *TRAINING).returncode == 3
    *_, (name, *words, command) = world.lines()
    assert (name, words[:2]) == ("xpk", ["workload", "create"])
    options = dict(word.split("=", 1) for word in words[2:] if "LIBTPU" not in word)
    assert options["--tpu-type"] == "v5p-128" and options["--num-slices"] == "2"
    assert options["--docker-image"] == "registry/irg:1" and options["--env"] == "IRG_DISTRIBUTED=auto"
    assert shlex.split(command.removeprefix("--command=")) == ["exec", "python", "-m", "irg_jax.train", *MOUNTED]
    # Beside what xpk restarts after by itself: 42, and 127 to 255.
    assert options["--restart-on-exit-codes"].split(",") == ["1", "75"]


def test_xpk_attaches_each_bucket_to_the_cluster_and_uses_it(world):
    world.run("gke/xpk.sh", *XPK, "--", *TRAINING)
    _, *attached, created = world.lines()
    where = ["--cluster=c", "--project=p", "--zone=z"]
    assert attached == [
        [
            "xpk",
            "storage",
            "attach",
            name,
            "--type=gcsfuse",
            *where,
            f"--bucket={bucket}",
            f"--mount-point=/gcs/{bucket}",
        ]
        + [f"--mount-options={OPTIONS}", "--size=1", "--readonly=false", "--auto-mount=false"]
        for name, bucket in (("bucket", "bucket"), ("my-data-set", "my_data.set"))
    ]
    assert [word for word in created if "storage" in word] == ["--storage=bucket", "--storage=my-data-set"]


# --- containers


def _setup_argument(name):
    """The value of an argument of setup() in setup.py."""
    call = ast.parse((ROOT / "setup.py").read_text()).body[-1].value
    (value,) = [keyword.value for keyword in call.keywords if keyword.arg == name]
    return ast.literal_eval(value)


def test_setup_allows_the_pinned_versions():
    extras = _setup_argument("extras_require")
    wanted = _setup_argument("install_requires") + extras["tpu"] + extras["cuda"]
    lines = (LAUNCH / "containers/constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    for requirement in map(Requirement, wanted):
        name = requirement.name.lower().replace("_", "-")
        assert requirement.specifier.contains(pins[name]), requirement
    assert pins["jaxlib"] == pins["jax"] == pins["jax-cuda12-plugin"] and "libtpu" in pins


@pytest.mark.parametrize("name", ["gpu", "tpu"])
def test_an_image_copies_every_package_folder_before_it_installs(name):
    before, _ = (LAUNCH / f"containers/{name}.Dockerfile").read_text().split("RUN pip install")
    copied = [word for line in before.splitlines() if line.startswith("COPY") for word in line.split()[1:-1]]
    packages = ["irg_jax", *_setup_argument("package_dir").values()]
    assert {"setup.py", "pyproject.toml", *(f"{folder}/__init__.py" for folder in packages)} <= set(copied)
    assert all((ROOT / path).exists() for path in copied)
