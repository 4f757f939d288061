"""Evaluates checkpoints: ``python -m irg_jax.evaluate generate|score|detect|measure|prefer|report|heldout``.

    generate   samples the images of a benchmark (GenEval, WISE, TIIF, GenAI-Bench, OneIG) into its official layout
    score      scores images in an official layout by the official rules
    detect     finds the objects of GenEval's images with a local detector
    measure    scores images by VQAScore or DreamSim, by the packages of their authors
    prefer     asks judges which of two turns or runs is better
    report     writes one page for scored runs, python -m irg_jax.evaluate report DIR…
    heldout    samples and scores held-out prompts of the shapes world

Each stops and goes on: the same command again does what is missing. ``irg_jax.evaluate COMMAND --help`` has the flags;
docs/evaluation.md how to run each benchmark, what it costs, and what is comparable.
"""

import importlib
import sys

from irg_jax.core.config.command_line import run_command, take_arguments
from irg_jax.core.config.schema import did_you_mean
from irg_jax.core.errors import UserError
from irg_jax.sharding import processes

COMMANDS = ("generate", "score", "detect", "measure", "prefer", "report", "heldout")


def main(argv: list[str]) -> None:
    """Runs one of the commands, whose name is the first argument; never returns."""
    name = argv.pop(1) if len(argv) > 1 and not argv[1].startswith("-") else ""
    if name not in COMMANDS:
        # Flags belong to a command; without one there is only --help.
        run_command(lambda: _refuse(name), argv=[argv[0], *(x for x in argv if x in ("-h", "-help", "--help"))])
    command = importlib.import_module(f"irg_jax.evaluation.commands.{name}")
    if hasattr(command, "PARSE") and not any(argument.split("=")[0] in ("--config", "-config") for argument in argv):
        argv.append(f"--config={command.DEFAULT_CONFIG}")
    folders = take_arguments(argv, command.FLAGS) if hasattr(command, "TAKES_FOLDERS") else None
    run_command(
        command.main if folders is None else lambda: command.main(folders),
        getattr(command, "PARSE", None),
        argv,
        flag_values=command.FLAGS,
        on_failure=processes.announce_failure,
    )


def _refuse(name: str) -> None:
    nearest = did_you_mean(name, COMMANDS)
    raise UserError(f"irg_jax.evaluate: {name!r} is not one of {', '.join(COMMANDS)}{nearest}")


if __name__ == "__main__":
    main(sys.argv)
