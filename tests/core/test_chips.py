"""Peak FLOP/s by device kind, and the MFU that follows."""

import pytest

from irg_jax.core.chips import CHIPS, mfu, peak_flops


@pytest.mark.parametrize(
    ("kind", "peak"),
    [
        ("TPU v4", 275e12),
        ("TPU v5 lite", 197e12),
        ("TPU v5p", 459e12),
        ("TPU v5", 459e12),
        ("TPU v6 lite", 918e12),
        ("TPU7x", 1153.5e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA H100 80GB HBM3", 989.5e12),
        ("NVIDIA H200", 989.5e12),
        ("NVIDIA B200", 2250e12),
        ("TPU v4 lite", None),
        ("NVIDIA H100 PCIe", None),
        ("NVIDIA H100 NVL", None),
        ("NVIDIA H200 NVL", None),
        ("cpu", None),
    ],
)
def test_peak_flops_by_device_kind(kind, peak):
    assert peak_flops(kind) == peak


def test_every_kind_of_a_chip_has_its_peak():
    assert {peak_flops(kind) == chip.flops for chip in CHIPS.values() for kind in chip.kinds} == {True}


def test_mfu_is_the_share_of_the_peak_of_all_devices():
    assert mfu(275e12, 0.5, "TPU v4", 8) == pytest.approx(0.25)
    assert mfu(1e12, 1.0, "cpu", 1) is None
