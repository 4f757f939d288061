"""One item of an Orbax checkpoint, written and read in blocks instead of as whole arrays.

Orbax has a type handler per type of leaf, which writes it. The handler here takes lazy arrays and writes them block by
block; everything else (names, metadata, the step's folder) is Orbax's own, so the result is an ordinary checkpoint.
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

from irg_jax.checkpoints.manager import FORMAT
from irg_jax.checkpoints.orbax_logs import filter_orbax_logs

CHUNK_BYTES = 4 * 2**20  # at most, so that a device reads little more than its own shard
IN_FLIGHT_BYTES = 2**26  # given to TensorStore and not yet written

_ARRAY_METADATA = "/.zarray"  # ending of the key with the metadata of an array

Index = tuple[slice | int, ...]


@dataclasses.dataclass(frozen=True)
class LazyArray:
    """An array that is produced block by block.

    Attributes:
      shape: of the whole array.
      dtype: of the whole array.
      chunk: shape of the chunks in which it is stored; see ``chunk_shape``.
      blocks: yields (index, values) of blocks that together cover the array, each made of whole chunks.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    chunk: tuple[int, ...]
    blocks: Callable[[], Iterable[tuple[Index, np.ndarray]]]

    @property
    def nbytes(self) -> int:
        """Size of the whole array."""
        return math.prod(self.shape) * self.dtype.itemsize


def chunk_shape(shape: tuple[int, ...], itemsize: int, stacked: bool) -> tuple[int, ...]:
    """The chunk shape of an array: one layer, its longest axis halved until a chunk is at most ``CHUNK_BYTES``."""
    chunk = [1, *shape[1:]] if stacked else list(shape)
    while math.prod(chunk) * itemsize > CHUNK_BYTES:
        even = [axis for axis, length in enumerate(chunk) if length % 2 == 0]
        if not even:
            break
        chunk[max(even, key=lambda axis: chunk[axis])] //= 2
    return tuple(chunk)


def save(directory: Path, tree: Any, meta: Mapping[str, Any]) -> None:
    """Writes step 0 of a checkpoint folder, with the items ``ema`` and ``meta``.

    Args:
      directory: the folder, as for ``manager.Checkpointer``.
      tree: the weights, each leaf a ``LazyArray``.
      meta: JSON-serialisable values.

    Raises:
      OSError: the storage refuses; TensorStore raises ValueError for it.
    """
    filter_orbax_logs()
    registry = ocp.type_handlers.create_type_handler_registry((LazyArray, _LazyArrayHandler()))
    handlers: dict[str, Any] = {
        # Weights hardly compress, and load faster uncompressed.
        "ema": ocp.PyTreeCheckpointHandler(type_handler_registry=registry, use_compression=False),
        "meta": ocp.JsonCheckpointHandler(),
    }
    options = ocp.CheckpointManagerOptions(step_format_fixed_length=8, enable_async_checkpointing=False)
    with ocp.CheckpointManager(directory.absolute(), options=options, item_handlers=handlers) as manager:
        items = {"ema": ocp.args.PyTreeSave(tree), "meta": ocp.args.JsonSave({**meta, "format": FORMAT, "step": 0})}
        manager.save(0, args=ocp.args.Composite(**items))


def open_arrays(item: Path) -> dict[str, ts.TensorStore]:
    """Opens the arrays of an item for reading, by weight name; reads no values.

    Args:
      item: folder of the item inside a step's folder.

    Raises:
      OSError: an array cannot be opened; TensorStore raises ValueError for it.
    """
    item = item.absolute()
    context = ocp.type_handlers.get_ts_context(use_ocdbt=True)
    # One after the other: Orbax opens all arrays at once and leaves failures unhandled in other threads.
    base = {"driver": "file", "path": f"{item}/"}
    store = ts.KvStore.open({"driver": "ocdbt", "base": base}, context=context).result()
    names = [
        key.decode().removesuffix(_ARRAY_METADATA)
        for key in store.list().result()
        if key.decode().endswith(_ARRAY_METADATA)
    ]
    arrays = {}
    for name in names:
        info = ocp.type_handlers.ParamInfo(name=name, parent_dir=item, ts_context=context)
        spec = ocp.type_handlers.get_json_tspec_read(info, use_ocdbt=True)
        arrays[name.removesuffix(".value")] = ts.open(ts.Spec(spec), open=True, context=context).result()
    return arrays


class _LazyArrayHandler(ocp.type_handlers.NumpyHandler):
    """Orbax's handler for numpy arrays, except that it writes values block by block."""

    async def serialize(
        self,
        values: Sequence[LazyArray],
        infos: Sequence[ocp.type_handlers.ParamInfo],
        args: Sequence[ocp.SaveArgs] | None = None,
    ) -> list[Any]:
        """Writes all arrays completely; returns no futures."""
        pending: list[Awaitable[None]] = []
        in_flight = 0
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
            for index, block in value.blocks():
                # Concurrent writes share their commits; there would otherwise be thousands.
                pending.append(store[index].write(block, can_reference_source_data_indefinitely=True))
                in_flight += block.nbytes
                if in_flight >= IN_FLIGHT_BYTES:
                    await asyncio.gather(*pending)
                    pending, in_flight = [], 0
        await asyncio.gather(*pending)
        return []
