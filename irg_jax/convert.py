"""Converts checkpoints: ``python -m irg_jax.convert --from bagel:DIR --to orbax:DIR``, and back.

``--from qwen2:DIR`` starts a model from a language model; ``--check DIR`` looks a BAGEL folder over.
"""

import logging
from pathlib import Path

from absl import flags

from irg_jax import config as configs
from irg_jax.bagel import qwen2, to_bagel, to_orbax, verdict
from irg_jax.errors import UserError

_FROM = flags.DEFINE_string("from", None, "what to convert: bagel:DIR, orbax:DIR or qwen2:DIR")
_TO = flags.DEFINE_string("to", None, "what to make: orbax:DIR, or bagel:DIR from orbax:DIR")
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "replace a target that exists, once the new one is complete")
_WEIGHTS = flags.DEFINE_enum("weights", "ema", to_bagel.WEIGHTS, "from orbax: which weights of a training checkpoint")
_DTYPE = flags.DEFINE_enum("dtype", None, list(to_bagel.TYPES), "from orbax: type to write; as stored if not given")
_VIT = flags.DEFINE_string("vit", None, "from qwen2: siglip:DIR, the image encoder; random if not given")
_AUTOENCODER = flags.DEFINE_string("autoencoder", None, "from qwen2: FLUX's ae.safetensors")
_SEED = flags.DEFINE_integer("seed", 0, "from qwen2: of the weights that no part has")
_CHECK = flags.DEFINE_string("check", None, "a BAGEL folder to look over instead of converting")

# What each source becomes, and the flags that it takes beside --to and --overwrite.
_TARGETS = {"bagel": "orbax", "orbax": "bagel", "qwen2": "orbax"}
_OPTIONS: dict[str, tuple[flags.FlagHolder, ...]] = {
    "bagel": (),
    "orbax": (_WEIGHTS, _DTYPE),
    "qwen2": (_VIT, _AUTOENCODER, _SEED),
}


def main() -> int:
    """Does what the flags say; gives the exit status."""
    configs.log_plainly()
    if _CHECK.value is not None:
        _only("--check", (_CHECK,))
        return _check(Path(_CHECK.value))
    kind, source = _place(_FROM, list(_TARGETS))
    _, target = _place(_TO, [_TARGETS[kind]])
    _only(f"--from {kind}", (_FROM, _TO, _OVERWRITE, *_OPTIONS[kind]))
    overwrite = _OVERWRITE.value
    if kind == "bagel":
        to_orbax.convert(source, target, overwrite=overwrite)
    elif kind == "orbax":
        to_bagel.convert(source, target, weights=_WEIGHTS.value, dtype=_DTYPE.value, overwrite=overwrite)
    else:
        vit = _place(_VIT, ["siglip"])[1] if _VIT.value is not None else None
        vae = Path(_AUTOENCODER.value) if _AUTOENCODER.value is not None else None
        qwen2.convert(qwen2.Parts(source, vit, vae), target, seed=_SEED.value, overwrite=overwrite)
    logging.info("%s", target)
    return 0


def _check(source: Path) -> int:
    lines, problems = verdict.look(source)
    print(*lines, *(f"problem: {problem}" for problem in problems), sep="\n")
    print(f"verdict: {source}", f"has {len(problems)} problem(s)" if problems else "is a BAGEL folder that converts")
    return 2 if problems else 0


def _place(flag: flags.FlagHolder, kinds: list[str]) -> tuple[str, Path]:
    """(kind, path) of a flag's ``kind:path``."""
    kind, _, path = (flag.value or "").partition(":")
    if kind not in kinds or not path:
        forms = " or ".join(f"{kind}:PATH" for kind in kinds)
        raise UserError(f"--{flag.name}: {flag.value!r} is not {forms}")
    return kind, Path(path)


def _only(what: str, allowed: tuple[flags.FlagHolder, ...]) -> None:
    """Refuses a flag that would be ignored."""
    names = [flag.name for flag in allowed]
    for flag in (_FROM, _TO, _OVERWRITE, _WEIGHTS, _DTYPE, _VIT, _AUTOENCODER, _SEED, _CHECK):
        if flag.present and flag.name not in names:
            raise UserError(f"--{flag.name} has no meaning with {what}")


if __name__ == "__main__":
    configs.run(main, takes_config=False)
