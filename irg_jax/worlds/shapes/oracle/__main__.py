"""A local endpoint of OpenAI's protocol for the shapes world: ``python -m irg_jax.worlds.shapes.oracle --port 8009``.

It judges pictures (yes/no questions with log-probabilities, marks, preferences) from what the exact reader sees in
them, and with --data teaches the prompts of a shapes data set (thinking 1, image 2, thinking 2). Any model name is
taken. Serves until Ctrl-C or SIGTERM; GET /v1/irg/requests says how much was asked.

Faults are planted with --fault, once per kind: --fault 429=0.05 for a share of the requests, --fault cut@0,7 for the
first and the eighth. The same --seed gives the same requests the same faults.
"""

import logging
import os
import signal
from typing import Any, NoReturn

from absl import flags

from irg_jax.core.config.command_line import log_plainly, run_command
from irg_jax.core.errors import UserError
from irg_jax.data.sources.trajectories import open_source
from irg_jax.worlds.shapes.draw import SPLITS
from irg_jax.worlds.shapes.oracle.answers import Oracle
from irg_jax.worlds.shapes.oracle.faults import KINDS, parse_faults
from irg_jax.worlds.shapes.oracle.server import Server

FLAGS = flags.FlagValues()  # of this command alone, so that any program can import this module
_HOST = flags.DEFINE_string("host", "127.0.0.1", "address to listen at", flag_values=FLAGS)
_PORT = flags.DEFINE_integer("port", 8009, "0 for a free one", lower_bound=0, upper_bound=65535, flag_values=FLAGS)
_KEY_ENV = flags.DEFINE_string(
    "key_env", None, "environment variable with the key that requests must carry; any if not given", flag_values=FLAGS
)
_DATA = flags.DEFINE_string("data", None, "folder of a shapes data set whose prompts it teaches", flag_values=FLAGS)
_FAULTS = flags.DEFINE_multi_string(
    "fault",
    [],
    "KIND=SHARE or KIND@NUMBER,NUMBER: " + "; ".join(f"{kind}: {what}" for kind, what in KINDS.items()),
    flag_values=FLAGS,
)
_SEED = flags.DEFINE_integer("seed", 0, "of the faults by share", lower_bound=0, flag_values=FLAGS)
_SILENCE = flags.DEFINE_float(
    "silence_s", 600.0, "seconds that a silence lasts", lower_bound=0.0, upper_bound=1e6, flag_values=FLAGS
)


def main() -> None:
    """Serves until the process is told to end."""
    log_plainly()
    faults = parse_faults(_FAULTS.value, _SEED.value, _SILENCE.value)
    sources = [open_source(_DATA.value, split) for split in SPLITS] if _DATA.value else []
    oracle = Oracle(source[i] for source in sources for i in range(len(source)))
    signal.signal(signal.SIGTERM, _interrupt)
    with Server(oracle, faults, key=_key(), host=_HOST.value, port=_PORT.value) as server:
        print(server.url, flush=True)
        try:
            while True:
                signal.pause()
        finally:
            counts = server.counts()
            logging.info("%d requests, %d answered", counts["requests"], counts["answered"])


def _interrupt(*_: Any) -> NoReturn:
    raise KeyboardInterrupt


def _key() -> str:
    if not _KEY_ENV.value:
        return ""
    key = os.environ.get(_KEY_ENV.value, "").strip()
    if not key:
        raise UserError(f"--key_env: the environment has no {_KEY_ENV.value}; export the key that clients shall carry")
    return key


if __name__ == "__main__":
    run_command(main, flag_values=FLAGS)
