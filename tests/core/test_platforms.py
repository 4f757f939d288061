"""Where there is no TPU, jax does not look for one."""

import importlib.util
import os
import sys

import pytest

from irg_jax.core import platforms


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch):
    """A machine without the environment of a TPU VM, where jax is not imported yet."""
    for name in platforms._VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delitem(sys.modules, "jax", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if name == "libtpu" else None)


@pytest.mark.parametrize("path", ["dev/accel0", "dev/vfio/0", "sys/bus/pci/devices/0000:00:05.0/vendor"])
def test_any_sign_of_a_tpu_counts(tmp_path, path):
    assert not platforms.has_tpu(tmp_path)
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_text("0x1ae0\n")
    assert platforms.has_tpu(tmp_path)


def test_the_environment_of_a_tpu_vm_counts(tmp_path, monkeypatch):
    monkeypatch.setenv("TPU_WORKER_ID", "0")
    assert platforms.has_tpu(tmp_path)


def test_other_pci_devices_are_no_tpus(tmp_path):
    vendor = tmp_path / "sys/bus/pci/devices/0000:00:05.0/vendor"
    vendor.parent.mkdir(parents=True)
    vendor.write_text("0x10de\n")
    assert not platforms.has_tpu(tmp_path)


@pytest.mark.parametrize(("chosen", "tpu", "then"), [("", False, "cpu"), ("", True, ""), ("tpu", False, "tpu")])
def test_what_the_user_has_chosen_stays(monkeypatch, chosen, tpu, then):
    monkeypatch.setenv("JAX_PLATFORMS", chosen)
    monkeypatch.setattr(platforms, "has_tpu", lambda: tpu)
    platforms.skip_missing_tpus()
    assert os.environ["JAX_PLATFORMS"] == then
