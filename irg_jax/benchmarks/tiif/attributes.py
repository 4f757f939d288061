"""The 39 attributes of TIIF-Bench, their groups, and their sizes (A113N-W3I/TIIF-Bench@3aae750).

Groups and attributes are in the order of the official script, which decides the last bit of their means.
"""

from collections.abc import Mapping

LENGTHS = ("short", "long")

_REASONING = ("numeracy", "comparison", "differentiation", "negation")

BASIC: Mapping[str, tuple[str, ...]] = {
    "Attribute": ("shape+color", "color+texture", "texture+color", "shape+texture"),
    "Relation": ("2d_spatial_relation", "3d_spatial_relation", "action+2d", "action+3d"),
    "Reasoning": ("numeracy", "negation", "differentiation", "comparison"),
}
ADVANCED: Mapping[str, tuple[str, ...]] = {
    "Attribute+Relation": (
        "action+color",
        "action+texture",
        *(f"{what}+{where}" for what in ("color", "shape", "texture") for where in ("2d", "3d")),
    ),
    "Attribute+Reasoning": tuple(f"{how}+{what}" for how in _REASONING for what in ("color", "texture")),
    "Relation+Reasoning": tuple(f"{how}+{where}" for how in _REASONING for where in ("2d", "3d")),
    "Text": ("text",),
    "Style": ("style",),
}
GROUPS: Mapping[str, tuple[str, ...]] = {**BASIC, **ADVANCED, "RealWorld": ("real_world",)}
ATTRIBUTES = tuple(attribute for group in GROUPS.values() for attribute in group)


def _sizes() -> dict[str, tuple[int, int]]:
    """Lines of each attribute in ``test`` and in ``testmini``."""
    of_group = {"Attribute": (50, 5), "Relation": (75, 8), "Reasoning": (75, 8), "Attribute+Relation": (33, 4)}
    sizes = {name: of_group.get(group, (40, 4)) for group, names in GROUPS.items() for name in names}
    more = {"action+color": (50, 5), "action+texture": (50, 5), "shape+color": (100, 10), "shape+texture": (100, 10)}
    return sizes | more | {"style": (300, 30), "text": (300, 30), "real_world": (100, 25)}


SIZES: Mapping[str, Mapping[str, int]] = {
    "test": {name: size for name, (size, _) in _sizes().items()},
    "testmini": {name: size for name, (_, size) in _sizes().items()},
}
