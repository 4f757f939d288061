"""A bucket without a network: ``gs://`` paths lie in a folder, with the manners of a bucket.

An object is there once it is closed, cannot grow, and needs no folder around it. Orbax and the package reach it through
epath and fsspec, as they reach Google's. TensorStore, whose driver for Google is built in, gets the folder's path.
"""

import io
import pathlib

import fsspec
from etils.epath import backend
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem
from orbax.checkpoint._src.path import gcs_utils


class _Upload(io.BytesIO):
    def __init__(self, target: pathlib.Path):
        super().__init__()
        self._target = target

    def close(self):
        if not self.closed:
            self._target.parent.mkdir(parents=True, exist_ok=True)
            self._target.write_bytes(self.getvalue())
        super().close()


def install(monkeypatch, root: pathlib.Path) -> str:
    """Puts ``gs://`` into ``root`` until the test is over; gives the URL of an empty bucket."""

    class Bucket(DirFileSystem):
        protocol = ("gs", "gcs")

        def __init__(self, **options):
            super().__init__(path=str(root), fs=LocalFileSystem(auto_mkdir=True))

        def open(self, path, mode="rb", **options):
            if "r" in mode:
                return super().open(path, mode)
            if "a" in mode:
                raise NotImplementedError("an object cannot grow")
            upload = _Upload(root / self._strip_protocol(path))
            return upload if "b" in mode else io.TextIOWrapper(upload, "utf-8", write_through=True)

    for scheme in Bucket.protocol:
        fsspec.register_implementation(scheme, Bucket, clobber=True)
    Bucket.cachable = False
    monkeypatch.setattr(backend.fsspec_backend, "_get_filesystem", lambda _: Bucket())
    monkeypatch.setattr(
        gcs_utils,
        "get_kvstore_for_gcs",
        lambda url: {"driver": "file", "path": str(root / url.removeprefix("gs://"))},
    )
    monkeypatch.setattr(gcs_utils, "get_bucket", lambda _: object())  # one without folders of its own
    (root / "bucket").mkdir(parents=True)
    return "gs://bucket"
