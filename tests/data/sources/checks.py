"""What holds of every source of conversations."""

import concurrent.futures
import pickle
import subprocess
import sys

import pytest

from irg_jax.data.checksum import checksum


def check_source(source, folder):
    """Reads the same again, in threads and as a pickled copy; has no other records; says which files it reads."""
    records = [source.read(i) for i in range(len(source))]
    keys = [source.key(i) for i in range(len(source))]
    assert len(set(keys)) == len(keys)
    for key, record in zip(keys, records, strict=True):
        assert record.conversations and {made.key for made in record.conversations} == {key}
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert list(pool.map(source.read, [*range(len(source))] * 10)) == records * 10
    copy = pickle.loads(pickle.dumps(source))
    assert [copy.read(i) for i in range(len(copy))] == records
    assert (list(copy.files), copy.kind, repr(copy)) == (list(source.files), source.kind, repr(source))
    for outside in (-1, len(source)):
        for call in (source.key, source.read):
            with pytest.raises(IndexError, match=f"{outside} of {len(source)}"):
                call(outside)
    assert sum(file.records for file in source.files) == len(source)
    for file in source.files:
        found = (folder / file.path).stat()
        assert (file.size, file.changed) == (found.st_size, found.st_mtime_ns)


def check_imports(module):
    """A worker process reads the source without the packages that take seconds to import."""
    program = (
        f"import sys, {module}; print(*{{'jax', 'grain', 'tensorflow_datasets', 'tensorflow'}} & {{*sys.modules}})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


def crc(*pieces):
    return checksum(pieces)
