"""Converts checkpoints: ``python -m irg_jax.convert --from bagel:DIR --to orbax:DIR``, and back.

``--from qwen2:DIR`` initializes a model from a language model; ``--check DIR`` validates a BAGEL folder.
"""

import logging
from pathlib import Path

from absl import flags

from irg_jax.checkpoints.bagel import qwen2, to_bagel, to_orbax, validate
from irg_jax.core.config.command_line import log_plainly, run_command
from irg_jax.core.errors import UserError

FLAGS = flags.FlagValues()  # of this command alone, so that any program can import this module
_FROM = flags.DEFINE_string("from", None, "source: bagel:DIR, orbax:DIR or qwen2:DIR", flag_values=FLAGS)
_TO = flags.DEFINE_string("to", None, "target: orbax:DIR, or bagel:DIR from orbax:DIR", flag_values=FLAGS)
_OVERWRITE = flags.DEFINE_bool(
    "overwrite", False, "replace an existing target, once the new one is complete", flag_values=FLAGS
)
_WEIGHTS = flags.DEFINE_enum(
    "weights", "ema", to_bagel.WEIGHTS, "from orbax: which weights of a training checkpoint", flag_values=FLAGS
)
_DTYPE = flags.DEFINE_enum(
    "dtype", None, list(to_bagel.DTYPE_CODES), "from orbax: dtype to write; as saved if not given", flag_values=FLAGS
)
_VIT = flags.DEFINE_string(
    "vit", None, "from qwen2: siglip:DIR, the image encoder; random if not given", flag_values=FLAGS
)
_VAE = flags.DEFINE_string("vae", None, "from qwen2: FLUX's ae.safetensors", flag_values=FLAGS)
_SEED = flags.DEFINE_integer("seed", 0, "from qwen2: seed of the newly initialized weights", flag_values=FLAGS)
_CHECK = flags.DEFINE_string("check", None, "validates this BAGEL folder instead of converting", flag_values=FLAGS)

# The target of each source, and its flags beside --to and --overwrite.
_TARGETS = {"bagel": "orbax", "orbax": "bagel", "qwen2": "orbax"}
_OPTIONS: dict[str, tuple[flags.FlagHolder, ...]] = {
    "bagel": (),
    "orbax": (_WEIGHTS, _DTYPE),
    "qwen2": (_VIT, _VAE, _SEED),
}


def main() -> int:
    """Converts or validates as the flags say; returns the exit status."""
    log_plainly()
    if _CHECK.value is not None:
        _refuse_other_flags("--check", (_CHECK,))
        return _check(Path(_CHECK.value))
    kind, source = _parse_kind_and_path(_FROM, list(_TARGETS))
    _, target = _parse_kind_and_path(_TO, [_TARGETS[kind]])
    _refuse_other_flags(f"--from {kind}", (_FROM, _TO, _OVERWRITE, *_OPTIONS[kind]))
    overwrite = _OVERWRITE.value
    if kind == "bagel":
        to_orbax.convert(source, target, overwrite=overwrite)
    elif kind == "orbax":
        to_bagel.convert(source, target, weights=_WEIGHTS.value, dtype=_DTYPE.value, overwrite=overwrite)
    else:
        vit = _parse_kind_and_path(_VIT, ["siglip"])[1] if _VIT.value is not None else None
        vae = Path(_VAE.value) if _VAE.value is not None else None
        qwen2.convert(qwen2.Parts(source, vit, vae), target, seed=_SEED.value, overwrite=overwrite)
    logging.info("%s", target)
    return 0


def _check(source: Path) -> int:
    lines, problems = validate.validate_checkpoint(source)
    print(*lines, *(f"problem: {problem}" for problem in problems), sep="\n")
    print(f"result: {source}", f"has {len(problems)} problem(s)" if problems else "is a BAGEL folder that converts")
    return 2 if problems else 0


def _parse_kind_and_path(flag: flags.FlagHolder, kinds: list[str]) -> tuple[str, Path]:
    """Splits a flag's ``kind:path``."""
    kind, _, path = (flag.value or "").partition(":")
    if kind not in kinds or not path:
        forms = " or ".join(f"{kind}:PATH" for kind in kinds)
        raise UserError(f"--{flag.name}: {flag.value!r} is not {forms}")
    return kind, Path(path)


def _refuse_other_flags(what: str, allowed: tuple[flags.FlagHolder, ...]) -> None:
    """Raises a UserError for a flag that would be ignored."""
    names = [flag.name for flag in allowed]
    for flag in (_FROM, _TO, _OVERWRITE, _WEIGHTS, _DTYPE, _VIT, _VAE, _SEED, _CHECK):
        if flag.present and flag.name not in names:
            raise UserError(f"--{flag.name} cannot be used with {what}")


if __name__ == "__main__":
    run_command(main, flag_values=FLAGS)
