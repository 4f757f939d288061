"""What the chips can do, and how a topology is written."""

import dataclasses
import re

from irg_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Chip:
    """One accelerator.

    Attributes:
      kind: as ``jax.Device.device_kind`` begins.
      flops: bf16 dense peak, FLOP/s.
      memory: of the device, bytes.
      bandwidth: of that memory, bytes/s.
      links: what it can send to chips of its slice or node, all links together, bytes/s.
      network: its share of the network between slices or nodes, bytes/s.
    """

    kind: str
    flops: float
    memory: float
    bandwidth: float
    links: float
    network: float


# TPU: the key specifications in docs.cloud.google.com/tpu/docs/v5e, v5p and v6e (2026). Links are the published
# inter-chip Gbps in bytes, one way: 1,600, 4,800 and 3,200. Network is the pod's data centre bandwidth over its 256
# chips for v5e (6.4 Tbps) and v6e (25.6 Tbps); for v5p, where the page has none, 200 Gbps a host of four chips is
# assumed. NVIDIA: H100 SXM datasheet; NVLink's 900 GB/s are both ways; one 400 Gbps port a GPU is assumed.
CHIPS = {
    "v5e": Chip("TPU v5 lite", 197e12, 16e9, 819e9, 200e9, 3.125e9),
    "v5p": Chip("TPU v5", 459e12, 95e9, 2765e9, 600e9, 6.25e9),
    "v6e": Chip("TPU v6 lite", 918e12, 32e9, 1600e9, 400e9, 12.5e9),
    "h100": Chip("NVIDIA H100", 989.5e12, 80e9, 3350e9, 450e9, 50e9),
}


@dataclasses.dataclass(frozen=True)
class Topology:
    """Chips that train together.

    Attributes:
      name: of a kind in ``CHIPS``.
      shape: chips along each direction of a slice; one number for a GPU node.
      slices: slices or nodes, joined by the network.
    """

    name: str
    shape: tuple[int, ...]
    slices: int

    @property
    def chip(self) -> Chip:
        """What one of them can do."""
        return CHIPS[self.name]

    @property
    def chips(self) -> int:
        """All of them."""
        count = self.slices
        for size in self.shape:
            count *= size
        return count

    @property
    def compiles(self) -> bool:
        """Whether XLA can compile for it without having it."""
        return self.name != "h100"

    def __str__(self) -> str:
        shape = f"{self.name}:{'x'.join(map(str, self.shape))}"
        return shape if self.slices == 1 else f"{self.slices} x {shape}"


def parse(text: str, slices: int = 1) -> Topology:
    """Reads ``v5p:4x4x4`` (chips along each direction) or ``h100:8``.

    Raises:
      UserError: an unknown chip or a shape that is none; the known ones are listed.
    """
    match = re.fullmatch(r"(\w+):(\d+(?:x\d+)*)", text)
    dimensions = {"v5e": 2, "v6e": 2, "v5p": 3, "h100": 1}
    if not match or match[1] not in CHIPS or match[2].count("x") + 1 != dimensions[match[1]]:
        raise UserError(
            f"--topology: {text!r} is none; known are v5e:AxB, v6e:AxB, v5p:AxBxC (chips along each direction, such as "
            "v5e:16x16, v6e:8x8, v5p:4x4x4) and h100:8"
        )
    return Topology(match[1], tuple(int(size) for size in match[2].split("x")), slices)
