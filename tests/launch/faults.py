"""``python -m irg_jax.train`` in a process whose storage answers with errors, while a file says so.

The file is named ``data-INDEX`` or ``checkpoints-INDEX`` after what fails on the process of that index, and is in the
folder that ``FAULTS`` names. A number in it is how many more times it fails; it fails until the file is gone if empty.
"""

import errno
import functools
import os
import pathlib
import runpy
import sys

import orbax.checkpoint as ocp
from array_record.python.array_record_data_source import ArrayRecordDataSource

_FOLDER = pathlib.Path(os.environ["FAULTS"])


def _fail_as_told(owner, method, name, number):
    """Replaces the method by one that looks for the file first."""
    whole = getattr(owner, method)
    file = _FOLDER / f"{name}-{os.environ['JAX_PROCESS_ID']}"

    @functools.wraps(whole)
    def replaced(*args, **kwargs):
        if file.exists():
            left = file.read_text()
            if left == "1":
                file.unlink()
            elif left:
                file.write_text(str(int(left) - 1))
            raise OSError(number, os.strerror(number))
        return whole(*args, **kwargs)

    setattr(owner, method, replaced)


_fail_as_told(ArrayRecordDataSource, "__getitem__", "data", errno.ENOTCONN)  # of a mount whose server is gone
_fail_as_told(ocp.CheckpointManager, "save", "checkpoints", errno.EIO)
sys.argv = ["train", *sys.argv[1:]]
runpy.run_module("irg_jax.train", run_name="__main__")
