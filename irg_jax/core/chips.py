"""What chips can do: peak FLOP/s of every known kind; memory, bandwidth and links of those that can be planned for."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Chip:
    """One accelerator, as JAX sees it: one device.

    Attributes:
      kinds: lower-case beginnings of ``jax.Device.device_kind``.
      flops: bf16 dense peak, FLOP/s.
    """

    kinds: tuple[str, ...]
    flops: float


@dataclasses.dataclass(frozen=True)
class PlannedChip(Chip):
    """A chip with the figures that ``irg_jax.plan`` needs beside the peak.

    Attributes:
      memory: of the device, bytes.
      bandwidth: of that memory, bytes/s.
      links: what it can send to chips of its slice or node, all links together, bytes/s.
      network: its share of the network between slices or nodes, bytes/s.
    """

    memory: float
    bandwidth: float
    links: float
    network: float


# Peak. TPU: "Peak compute per chip (BF16)" in the system architecture pages of docs.cloud.google.com/tpu/docs (v4 275,
# v5e 197, v5p 459, v6e 918, TPU7x 2307 TFLOPs). A TPU7x chip shows up as two JAX devices, each with half of it.
# NVIDIA: the Tensor Core BF16 rows of the A100, H100, H200 and HGX B200 datasheets; those print 1,979 (H100 SXM, H200)
# and 4,500 (B200) TFLOPS with sparsity, of which the dense rate is half.
#
# The other figures. TPU: the key specifications in docs.cloud.google.com/tpu/docs/v5e, v5p and v6e (2026). Links are
# the published inter-chip Gbps in bytes, one way: 1,600, 4,800 and 3,200. Network is the pod's data centre bandwidth
# over its 256 chips for v5e (6.4 Tbps) and v6e (25.6 Tbps); for v5p, where the page has none, 200 Gbps per host of four
# chips is assumed. NVIDIA: H100 SXM datasheet; NVLink's 900 GB/s are both ways; one 400 Gbps port per GPU is assumed.
CHIPS: dict[str, Chip] = {
    "v4": Chip(("tpu v4",), 275e12),
    "v5e": PlannedChip(("tpu v5 lite", "tpu v5e"), 197e12, memory=16e9, bandwidth=819e9, links=200e9, network=3.125e9),
    "v5p": PlannedChip(("tpu v5",), 459e12, memory=95e9, bandwidth=2765e9, links=600e9, network=6.25e9),
    "v6e": PlannedChip(("tpu v6 lite", "tpu v6e"), 918e12, memory=32e9, bandwidth=1600e9, links=400e9, network=12.5e9),
    "v7x": Chip(("tpu7x", "tpu v7x"), 2307e12 / 2),
    "a100": Chip(("nvidia a100",), 312e12),
    "h100": PlannedChip(("nvidia h100",), 1979e12 / 2, memory=80e9, bandwidth=3350e9, links=450e9, network=50e9),
    "h200": Chip(("nvidia h200",), 1979e12 / 2),
    "b200": Chip(("nvidia b200",), 4500e12 / 2),
}

# Kinds that begin like one of the above and are another chip, for which no figure is known.
_UNKNOWN_KINDS = ("tpu v4 lite", "nvidia h100 pcie", "nvidia h100 nvl", "nvidia h200 nvl")


def peak_flops(device_kind: str) -> float | None:
    """The bf16 dense peak FLOP/s of one JAX device of this kind; None where no figure is known."""
    kind = device_kind.lower()
    if kind.startswith(_UNKNOWN_KINDS):
        return None
    matches = [(beginning, chip) for chip in CHIPS.values() for beginning in chip.kinds if kind.startswith(beginning)]
    # "tpu v5 lite" begins with "tpu v5", too: the longest beginning counts.
    return max(matches, key=lambda match: len(match[0]))[1].flops if matches else None


def mfu(model_flops_per_step: float, step_seconds: float, device_kind: str, num_devices: int) -> float | None:
    """Model FLOPs utilisation, 0 to 1: the FLOPs the model needs against what the devices could do in that time."""
    peak = peak_flops(device_kind)
    if peak is None or step_seconds <= 0:
        return None
    return model_flops_per_step / (step_seconds * peak * num_devices)
