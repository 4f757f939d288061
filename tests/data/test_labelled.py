"""Labelled pictures are read whole, and what is wrong with a file is said by file, key and row."""

import numpy as np
import pytest

from irg_jax.core.errors import UserError
from irg_jax.data import labelled
from tests.training.labelled_squares import squares, write

GOOD = squares(6, seed=0)


def test_a_data_set_is_read_as_it_was_written(tmp_path):
    found = labelled.read(write(tmp_path / "good.npz", **GOOD))
    for key, values in GOOD.items():
        np.testing.assert_array_equal(getattr(found, key), values)


def changed_label(value):
    labels = GOOD["labels"].copy()
    labels[4, 1] = value
    return {"labels": labels}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (changed_label(4), r"labels\[4, 1\] is 4, and label 1 has 4 classes, counted from 0; correct the label"),
        (changed_label(-1), r"labels\[4, 1\] is -1"),
        ({"pictures": GOOD["pictures"] / 255}, r"pictures is float64 \[6, 32, 32, 3\]; write it with np.savez"),
        ({"pictures": GOOD["pictures"][..., :1]}, r"pictures are \[6, 32, 32, 1\]"),
        ({"pictures": GOOD["pictures"][:, :16]}, r"pictures are \[6, 16, 32, 3\]"),
        ({"pictures": GOOD["pictures"][:0], "labels": GOOD["labels"][:0]}, r"pictures are \[0, 32, 32, 3\]"),
        ({"labels": GOOD["labels"].astype(np.int64)}, r"labels is int64 \[6, 2\]"),
        ({"labels": GOOD["labels"][:5]}, r"labels are \[5, 2\] for 6 pictures and 2 numbers of classes"),
        ({"classes": np.array([3], np.int32)}, r"labels are \[6, 2\] for 6 pictures and 1 numbers of classes"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, changes, message):
    with pytest.raises(UserError, match=f"bad.npz: {message}"):
        labelled.read(write(tmp_path / "bad.npz", **GOOD | changes))


def test_a_missing_key_a_missing_file_and_other_files_are_named(tmp_path):
    with pytest.raises(UserError, match="bad.npz: has no labels; write it with np.savez"):
        labelled.read(write(tmp_path / "bad.npz", pictures=GOOD["pictures"], classes=GOOD["classes"]))
    with pytest.raises(UserError, match=r"none.npz: cannot be read \(No such file or directory\)"):
        labelled.read(tmp_path / "none.npz")
    np.save(tmp_path / "one.npy", GOOD["pictures"])
    with pytest.raises(UserError, match="one.npy: is one array, not an .npz file"):
        labelled.read(tmp_path / "one.npy")
    write(tmp_path / "good.npz", **GOOD)
    whole = (tmp_path / "good.npz").read_bytes()
    for name, content in (("cut.npz", whole[:2000]), ("text.npz", b"hello"), ("empty.npz", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=f"{name}: is no .npz file, or a damaged one"):
            labelled.read(tmp_path / name)
    damaged = bytearray(whole)
    damaged[5000] ^= 255
    (tmp_path / "damaged.npz").write_bytes(damaged)
    with pytest.raises(UserError, match="damaged.npz: is no .npz file, or a damaged one"):
        labelled.read(tmp_path / "damaged.npz")


def test_nothing_is_unpickled(tmp_path):
    with pytest.raises(UserError, match="is no .npz file, or a damaged one"):
        labelled.read(write(tmp_path / "bad.npz", **GOOD | {"labels": np.array([{}], object)}))
