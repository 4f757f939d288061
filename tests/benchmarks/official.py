"""Official prompt files and cases computed by the official scorers; none of them is in this repository.

``IRG_BENCHMARKS`` names their folder; by default it is looked for beside the checkout. Tests of missing files are
skipped.
"""

import json
import os
import pathlib
from typing import Any

import pytest

_ROOT = pathlib.Path(__file__).parents[2]
_BESIDE = [folder / "shared" / "reference" / "benchmarks" for folder in (_ROOT, _ROOT.parent)]
_FOLDERS = [pathlib.Path(os.environ["IRG_BENCHMARKS"])] if "IRG_BENCHMARKS" in os.environ else _BESIDE


def path(name: str) -> pathlib.Path:
    """A file or folder, such as ``geneval/golden_decisions.json``."""
    for folder in _FOLDERS:
        if (folder / name).exists():
            return folder / name
    pytest.skip(f"{name} is not there; IRG_BENCHMARKS names the folder of official files")


def load(name: str) -> Any:
    """A JSON file."""
    return json.loads(path(name).read_text("utf-8"))
