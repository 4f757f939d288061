"""One item of an Orbax checkpoint, written and read in pieces instead of as whole arrays.

Orbax's handler for a type of leaf decides how the leaf gets to the disk. The one here takes leaves that exist only as a
recipe and writes them piece by piece; everything around the arrays (names, metadata, the step's folder) is Orbax's own,
so what comes out is an ordinary checkpoint.
"""

import asyncio
import dataclasses
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
import tensorstore as ts

CHUNK = 4 * 2**20  # bytes at most, so that a device reads little beyond its own shard
IN_FLIGHT = 2**26  # bytes given to TensorStore and not yet on the disk

_ARRAY = "/.zarray"  # the key that describes an array

Region = tuple[slice | int, ...]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """An array that does not exist yet.

    Attributes:
      shape: of the whole.
      dtype: of the whole.
      chunk: shape of the pieces in which it is stored; ``chunk_shape`` gives one.
      pieces: makes the array's regions one after the other; together they cover it, and each chunk once.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    chunk: tuple[int, ...]
    pieces: Callable[[], Iterable[tuple[Region, np.ndarray]]]

    @property
    def nbytes(self) -> int:
        """Of the whole."""
        return math.prod(self.shape) * self.dtype.itemsize


def chunk_shape(shape: tuple[int, ...], itemsize: int, stacked: bool) -> tuple[int, ...]:
    """How an array is cut for storing: one layer at a time, longest axis halved until a chunk is small enough."""
    chunk = [1, *shape[1:]] if stacked else list(shape)
    while math.prod(chunk) * itemsize > CHUNK:
        even = [axis for axis, length in enumerate(chunk) if length % 2 == 0]
        if not even:
            break
        chunk[max(even, key=lambda axis: chunk[axis])] //= 2
    return tuple(chunk)


def save(directory: Path, tree: Any, meta: Mapping[str, Any]) -> None:
    """Writes step 0 of a checkpoint folder, with the items ``ema`` and ``meta``.

    Args:
      directory: the folder, as ``training.checkpoint.Checkpointer`` takes it.
      tree: the weights, each leaf a ``Recipe``.
      meta: what JSON can hold.

    Raises:
      OSError: the disk refuses; so does ValueError, where TensorStore notices it.
    """
    registry = ocp.type_handlers.create_type_handler_registry((Recipe, _Handler()))
    handlers: dict[str, Any] = {
        # Weights hardly shrink, and what is stored as it is loads faster.
        "ema": ocp.PyTreeCheckpointHandler(type_handler_registry=registry, use_compression=False),
        "meta": ocp.JsonCheckpointHandler(),
    }
    options = ocp.CheckpointManagerOptions(step_format_fixed_length=8, enable_async_checkpointing=False)
    with ocp.CheckpointManager(directory.absolute(), options=options, item_handlers=handlers) as manager:
        items = {"ema": ocp.args.PyTreeSave(tree), "meta": ocp.args.JsonSave({**meta, "step": 0})}
        manager.save(0, args=ocp.args.Composite(**items))


def open_arrays(item: Path) -> dict[str, ts.TensorStore]:
    """The arrays of an item by the weights' names, opened for reading; nothing is read yet.

    Args:
      item: folder of the item inside a step's folder.

    Raises:
      OSError: an array cannot be opened; so does ValueError, where TensorStore notices it.
    """
    item = item.absolute()
    context = ocp.type_handlers.get_ts_context(use_ocdbt=True)
    # One after the other: Orbax's own look at an item opens all at once and leaves failures behind in other threads.
    base = {"driver": "file", "path": f"{item}/"}
    store = ts.KvStore.open({"driver": "ocdbt", "base": base}, context=context).result()
    names = [key.decode().removesuffix(_ARRAY) for key in store.list().result() if key.decode().endswith(_ARRAY)]
    found = {}
    for name in names:
        info = ocp.type_handlers.ParamInfo(name=name, parent_dir=item, ts_context=context)
        spec = ocp.type_handlers.get_json_tspec_read(info, use_ocdbt=True)
        found[name.removesuffix(".value")] = ts.open(ts.Spec(spec), open=True, context=context).result()
    return found


class _Handler(ocp.type_handlers.NumpyHandler):
    """Orbax's handler for numpy arrays, but for how their numbers are written."""

    async def serialize(
        self,
        values: Sequence[Recipe],
        infos: Sequence[ocp.type_handlers.ParamInfo],
        args: Sequence[ocp.SaveArgs] | None = None,
    ) -> list[Any]:
        """Writes every array to its end before it returns; nothing is left to wait for."""
        pending: list[Awaitable[None]] = []
        waiting = 0
        for value, info in zip(values, infos, strict=True):
            await info.await_path_creation()
            spec = ocp.type_handlers.get_json_tspec_write(
                info,
                use_ocdbt=True,
                global_shape=value.shape,
                local_shape=value.shape,
                dtype=value.dtype,
                process_index=jax.process_index(),
            )
            spec["metadata"]["chunks"] = value.chunk
            store = await ts.open(ts.Spec(spec), create=True, open=True, context=info.ts_context)
            for region, block in value.pieces():
                # Writes that are under way together share their commits, which would else be thousands.
                pending.append(store[region].write(block, can_reference_source_data_indefinitely=True))
                waiting += block.nbytes
                if waiting >= IN_FLIGHT:
                    await asyncio.gather(*pending)
                    pending, waiting = [], 0
        await asyncio.gather(*pending)
        return []
