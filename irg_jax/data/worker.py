"""A process that builds rows: ``python -m irg_jax.data.worker``, started by ``workers.Workers`` and fed through pipes.

It imports neither jax nor TFDS, knows neither the index nor the plan, and ends when its parent does.
"""

import os
import signal
import sys

from irg_jax.core.errors import StorageError, UserError
from irg_jax.data import messages


def main() -> None:
    """Receives the function to call, then its arguments, one after another; sends back what it returns or raises."""
    # A terminal's Ctrl-C, and its end, go to the whole group: the parent finishes its step, and may need a row for it.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    incoming, outgoing = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get among the messages
    sys.stdin.close()
    try:
        function = messages.receive(incoming)
        while True:
            argument = messages.receive(incoming)
            try:
                answer = messages.Answer(function(argument), None)
            except (UserError, StorageError) as error:
                answer = messages.Answer(None, error)
            messages.send(outgoing, answer)
    except (EOFError, BrokenPipeError):
        return


if __name__ == "__main__":
    main()
