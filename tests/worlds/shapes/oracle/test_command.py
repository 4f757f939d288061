"""The command that starts the oracle."""

import signal
import subprocess

import openai
import pytest

from irg_jax.worlds.shapes import dataset
from irg_jax.worlds.shapes.world import make_trajectory
from tests import commands


def start(*flags):
    return subprocess.Popen(
        commands.command_line("worlds.shapes.oracle", "--port=0", *flags), cwd=commands.ROOT,
        env=commands.environment() | {"ORACLE_KEY": "sk-1"}, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_it_teaches_the_prompts_of_a_data_set_until_it_is_told_to_end(tmp_path, end, python_handles_ctrl_c):
    dataset.build(tmp_path / "data", seed=0, train=6, held_out=6)
    process = start(f"--data={tmp_path / 'data'}", "--key_env=ORACLE_KEY", "--fault=500@0")
    try:
        url = process.stdout.readline().strip()
        client = openai.OpenAI(base_url=url, api_key="sk-1", max_retries=0, timeout=10)
        prompt = make_trajectory(0, "held_out", 2).prompt
        with pytest.raises(openai.InternalServerError):
            client.images.generate(prompt=prompt)
        assert client.images.generate(prompt=prompt).data[0].b64_json
    finally:
        process.send_signal(end)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130 and "2 requests, 1 answered" in said and "Traceback" not in said


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--fault=421=0.1", "error: --fault 421=0.1: '421' is not one of 429, 500"),
        ("--key_env=NOBODY_SET_THIS", "error: --key_env: the environment has no NOBODY_SET_THIS"),
        ("--data=none", "error: "),
        ("--host=256.0.0.1", "error: 256.0.0.1:0: cannot listen there"),
    ],
)
def test_a_mistake_is_one_line(flag, message):
    process = start(flag)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2 and said.startswith(message) and said.count("\n") == 1, said
