"""What of a config a run may change when it resumes, and what makes it another run."""

import os
import re
from collections.abc import Mapping
from typing import Any

from irg_jax.core.errors import UserError

# How, where and how long a run is computed, measured and saved changes no number beyond rounding. Other ``steps``
# change the learning rates to come of a cosine schedule, which ends at the last step: a longer run wants that.
# Latents may be moved; whether they are the same ones, the fingerprint of the data says.
_FREE = re.compile(
    r"steps|data\.(threads|workers|buffer_gb|on_error)|(mesh|checkpoint|log|validation|evaluate)\..*|execution\.(?!dtype$).*"
    r"|optim\.(accumulate|skip_nonfinite)|data\.sources\.[^.]+\.latents"
)
# What a person may want to change on the way, knowing that the run is not the one of its first config any more.
_ON_REQUEST = re.compile(
    r"(optim\.(?!(moments_dtype|ema_dtype|freeze)$)|loss\.|data\.(mixture|dropout|batch_size|resize)).*"
)
_STAGE = re.compile(r"^stages\.[^.]+\.")
# A folder may be moved. Whether it is there at all, such as weights to start from, may not change.
_FOLDERS = re.compile(r"data\.sources\.[^.]+\.dir|data\.tokenizer|init_from|vit\.(pictures|held_out)")
_ABSENT = object()


def compare(
    saved: Mapping[str, Any],
    mine: Mapping[str, Any],
    workdir: str | os.PathLike[str],
    allow_changes: bool = False,
) -> dict[str, list[Any]]:
    """The values that differ between the config of a run and the one that it is to resume with.

    Args:
      saved: values by dotted key, of the run.
      mine: likewise, of the config that was given.
      workdir: the run's folder, for errors.
      allow_changes: whether the optimizer, its schedule, the losses and the mixture may differ too.

    Returns:
      [before, after] by key, None where a config of another version does not have the key.

    Raises:
      UserError: a key that changes what is learned differs; the first one is named.
    """
    # An optional section that is not used is None, or missing in a config of a version that did not have it.
    unused = {key for key in mine.keys() ^ saved.keys() if saved.get(key) is None and mine.get(key) is None}
    for key in sorted((mine.keys() ^ saved.keys()) - unused):
        if not _is_free(key):
            holder = "the config.json there" if key in saved else "this run's config"
            raise UserError(
                f"{workdir}: belongs to another run or to another version of irg_jax: only {holder} has the key {key}; "
                "choose another --workdir"
            )
    changes = {}
    for key in sorted((mine.keys() | saved.keys()) - unused):
        before, after = saved.get(key, _ABSENT), mine.get(key, _ABSENT)
        if before == after:
            continue
        in_stage = _STAGE.sub("", key)
        moved = _FOLDERS.fullmatch(in_stage) and before and after
        on_request = _ON_REQUEST.fullmatch(in_stage) is not None
        if not moved and not _is_free(key) and not (allow_changes and on_request):
            go_on = "give --allow_changes to go on with it, " if on_request else ""
            raise UserError(
                f"{workdir}: belongs to another run: {key} is {before!r} there, {after!r} here; {go_on}"
                f"choose another --workdir, or repeat that run with --config {workdir}/config.json"
            )
        changes[key] = [None if value is _ABSENT else value for value in (before, after)]
    return changes


def _is_free(key: str) -> bool:
    return _FREE.fullmatch(_STAGE.sub("", key)) is not None
