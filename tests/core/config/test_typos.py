"""Thirty typos, in a config file, on the command line, in ``--sampling``: each names its key and the nearest one."""

import pytest

from irg_jax.core.config.command_line import run_command
from irg_jax.core.config.files import load
from irg_jax.core.config.schema import parse_assignments
from irg_jax.core.errors import UserError
from irg_jax.experiment.config import parse_config
from irg_jax.sampling.config import SamplingConfig

# A line of a config file, the key that the error has to name, and the nearest key.
IN_A_FILE = [
    ("c.optim.learning_rate = 1e-3", "optim.learning_rate", "lr"),
    ("c.optim.warmup_step = 3", "optim.warmup_step", "warmup_steps"),
    ("c.optim.update(ema_deacy=0.9)", "optim.ema_deacy", "ema_decay"),
    ("c.data.batchsize = 8", "data.batchsize", "batch_size"),
    ("c.data.budgets.undd = 100", "data.budgets.undd", "und"),
    ("c.los = ConfigDict(dict(ce_weight=1.0))", "los", "loss"),
    ("c.step = 100", "step", "steps"),
    ("c.model.decoder.hiden = 64", "model.decoder.hiden", "hidden"),
    ("c.execution.remta = 'full'", "execution.remta", "remat"),
    ("c.lora = ConfigDict(dict(rank=4, alpha=4.0, weigths='q'))", "lora.weigths", "weights"),
    ("print(c.optm.lr)", "optm", "optim"),
    ("c.optim.schedule = 'cosin'", "optim.schedule", "cosine"),
    ("c.data.mixture = (('shapes', 'initial_ful_learning', 1.0, True),)", "data.mixture", "initial_full_learning"),
]
ON_THE_COMMAND_LINE = [
    ("--config.optim.lrr=1", "optim.lrr", "lr"),
    ("--config.optim.learning_rate=1", "optim.learning_rate", "lr"),
    ("--config.lr=1", "lr", "optim.lr"),
    ("--config.data.bugdets.und=8", "data.bugdets.und", "budgets"),
    ("--config.execution.atention=plain", "execution.atention", "attention"),
    ("--config.execution.attention=chuncked", "execution.attention", "chunked"),
    ("--config.init_form=x", "init_form", "init_from"),
    ("--config.mesh.fspd=2", "mesh.fspd", "fsdp"),
    ("--config.checkpoint.keeep=2", "checkpoint.keeep", "keep"),
]
IN_SAMPLING = [
    ("temprature=0.0", "sampling.temprature", "temperature"),
    ("time_point=10", "sampling.time_point", "time_points"),
    ("turn1.text_scal=2.0", "sampling.turn1.text_scal", "text_scale"),
    ("turn2.renorm=chanel", "sampling.turn2.renorm", "channel"),
    ("trun2.text_scale=2.0", "sampling.trun2", "turn2"),
    ("max_thinkin=(1, 2)", "sampling.max_thinkin", "max_thinking"),
    ("system_promt=hello", "sampling.system_promt", "system_prompt"),
    ("timestep_shfit=1.0", "sampling.timestep_shfit", "timestep_shift"),
]


def test_thirty_are_planted():
    assert len(IN_A_FILE) + len(ON_THE_COMMAND_LINE) + len(IN_SAMPLING) == 30


def assert_names(line: str, key: str, nearest: str) -> None:
    assert f"config.{key}: " in line and "\n" not in line, line
    assert f"; did you mean {nearest}" in line, line


@pytest.mark.parametrize(("code", "key", "nearest"), IN_A_FILE)
def test_a_typo_in_a_config_file(tmp_path, code, key, nearest):
    file = tmp_path / "mine.py"
    file.write_text(
        "from ml_collections import ConfigDict\nfrom irg_jax.configs import template\n\n"
        f"def get_config():\n    c = template.get_config()\n    {code}\n    return c\n"
    )
    with pytest.raises(UserError) as error:
        parse_config(load(file))
    assert_names(str(error.value), key, nearest)


def test_a_typo_on_a_line_of_a_config_file_names_the_line(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from irg_jax.configs import template\ndef get_config():\n    c = template.get_config()\n    c.optim.lrr = 1\n"
    )
    with pytest.raises(UserError, match=r"mine\.py:4: config\.optim\.lrr: unknown key; did you mean lr\?"):
        load(file)


@pytest.mark.parametrize(("override", "key", "nearest"), ON_THE_COMMAND_LINE)
def test_a_typo_on_the_command_line(capsys, override, key, nearest):
    with pytest.raises(SystemExit):
        run_command(lambda _: pytest.fail("main was called"), parse_config, ["x", "--config=template", override])
    assert_names(capsys.readouterr().err.strip(), key, nearest)


@pytest.mark.parametrize(("assignment", "key", "nearest"), IN_SAMPLING)
def test_a_typo_in_sampling(assignment, key, nearest):
    with pytest.raises(UserError) as error:
        parse_assignments(SamplingConfig, [assignment], "sampling")
    assert_names(str(error.value), key, nearest)
