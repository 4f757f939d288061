"""Run folders for the report: metrics and samples as a run writes them."""

import json

from PIL import Image

from irg_jax.worlds.shapes.world import make_trajectory


def write_stage(folder, steps=40, *, validation=False):
    """A metrics.csv of a stage, with the loss on held-out data every tenth step if that is wanted."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        f"{step},{3 / step!r},{2 / step!r},{1 / step!r},{1 / step!r},1000.0,0.9,0.01,0.09" for step in range(1, steps)
    ]
    header = "step,loss,ce,mse,loss/initial_full_learning,tokens_per_s,fill/und,time/data,time/compute"
    if validation:
        header += ",validation/loss"
        rows = [f"{row},{0.5 if step % 10 == 0 else ''}" for step, row in enumerate(rows, start=1)]
    (folder / "metrics.csv").write_text("\n".join([header, *rows]) + "\n")


def write_sample(workdir, index, *, right=(True, True), scene=True, split="held_out", **changes):
    """A sample whose images show what its prompt wants, or nothing at all where not `right`."""
    trajectory = make_trajectory(3, split, index)
    folder = workdir / "samples" / f"{index:05d}"
    folder.mkdir(parents=True)
    for name, good in zip(("turn1.png", "turn2.png"), right, strict=True):
        if good:
            (folder / name).write_bytes(trajectory.image2)
        else:
            Image.new("RGB", (32, 32), (238, 238, 238)).save(folder / name)
    turns = [
        {"thinking": text, "image": f"turn{turn}.png", "complete": True}
        for turn, text in ((1, trajectory.thinking1), (2, trajectory.thinking2))
    ]
    record = {"prompt": trajectory.prompt, "seed": index, "index": index, "checkpoint": "stage1/40", "step": 40}
    record |= {"turns": turns, "scene": trajectory.scene if scene else ""} | changes
    (folder / "trajectory.json").write_text(json.dumps(record))
    return folder


def write_perception(workdir, *, step=40, right=(True, True)):
    """The perception of a faulty and of a faultless picture, whose faults are named where ``right``."""
    blurred = {"kind": "blurred", "planned": None, "seen": None}
    records = [
        {
            "key": f"held_out/{number}",
            "seen": named,
            "faults": faults,
            "named": faults if named else [blurred] * (not faults),
        }
        for number, (faults, named) in enumerate(zip(([blurred], []), right, strict=True))
    ]
    workdir.mkdir(parents=True, exist_ok=True)
    (workdir / "perception.json").write_text(json.dumps({"step": step, "asked": 2, "records": records}))
