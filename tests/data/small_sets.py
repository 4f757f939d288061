"""Small data sets of trajectories on disk, and the packed rows of them."""

import dataclasses
import json
import shutil

from irg_jax.data import factory
from irg_jax.data.config import SourceConfig
from tests import tiny
from tests.data.importing.inputs import build_from
from tests.data.test_factory import CONFIG, GEOMETRY

RECORDS = [tiny.trajectory(i) for i in range(24)]


def build(folder, records=RECORDS):
    """A data set of trajectories at ``folder``, in the place of what is there."""
    given = folder.with_name(f"{folder.name}.in")
    for old in (folder, given):
        shutil.rmtree(old, ignore_errors=True)
    given.mkdir()
    lines = []
    for i, record in enumerate(records):
        values = {name: value for name, value in dataclasses.asdict(record).items() if value}
        for name in ("image1", "image2"):
            values[name] = f"{i}.{name}.png"
            (given / values[name]).write_bytes(getattr(record, name))
        lines.append(json.dumps(values))
    (given / "in.jsonl").write_text("\n".join(lines))
    build_from(f"records:{given / 'in.jsonl'}", folder, max_rejected=0.0)
    return folder


def config_of(folder, **changes):
    """The two full modes of a data set of trajectories."""
    mixture = tuple(entry._replace(source="irgl") for entry in CONFIG.mixture if entry.mode.endswith("full_learning"))
    config = dataclasses.replace(
        CONFIG, sources={"irgl": SourceConfig("irgl", str(folder))}, mixture=mixture, initial_target="good",
        thinking1="plan",
    )  # fmt: skip
    return dataclasses.replace(config, **changes)


def rows_of(folder, **changes):
    return factory.make_packed_rows(config_of(folder, **changes), GEOMETRY)


def published(folder, **changes):
    sources = {"toy": SourceConfig("published", str(folder))}
    return factory.make_packed_rows(dataclasses.replace(CONFIG, sources=sources, **changes), GEOMETRY)
