"""Checkpoints: one Orbax ``CheckpointManager`` with params, EMA, optimizer and metadata as separate items.

Separate items because Orbax can skip whole items on restore but not parts of one: sampling reads only ``ema``.
A checkpoint is written into a temporary folder that is renamed once it is complete, so a folder with a step's name is
always a complete checkpoint, whatever killed the run.
"""

import contextlib
import logging
import os
import pathlib
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

import grain
import jax
import orbax.checkpoint as ocp

from irg_jax.core.errors import UserError
from irg_jax.core.storage import is_storage_error, storage_reason

TREES = ("params", "ema", "opt")
FORMAT = 2  # version of the metadata: 2 has the typed config and the state of the data iterator
_STEP_DIGITS = 8  # in the name of a step's folder
_HARMLESS_WARNINGS = (
    "Given directory is read only",  # as requested
    "No jax.Array in TypeHandlerRegistry",  # ``bagel.orbax_item`` writes arrays that are not jax.Arrays
)


class Checkpointer:
    """The checkpoints of one folder. A context manager: leaving it waits for the save in flight."""

    def __init__(self, directory: str | os.PathLike[str], *, keep: int = 1, read_only: bool = False):
        """Opens the folder.

        Args:
          directory: the folder; created if it is missing, unless ``read_only``.
          keep: how many checkpoints are kept; older ones are deleted once a newer one is complete.
          read_only: never writes or cleans up: for reading the checkpoints of a run that may still be training.

        Raises:
          UserError: the folder is missing (``read_only``) or cannot be created.
        """
        self.directory = pathlib.Path(directory).absolute()
        self._failed = False
        if read_only and not self.directory.is_dir():
            raise UserError(f"{self.directory}: no such checkpoint folder")
        filter_orbax_logs()
        options = ocp.CheckpointManagerOptions(
            # Orbax warns about either default in a read-only folder.
            max_to_keep=None if read_only else keep,
            save_interval_steps=0 if read_only else 1,
            step_format_fixed_length=_STEP_DIGITS,
            cleanup_tmp_directories=not read_only,
            create=not read_only,
            read_only=read_only,
        )
        # Handlers by name, so that metadata can be read before anything is saved or restored.
        handlers: dict[str, Any] = {name: ocp.StandardCheckpointHandler() for name in TREES}
        handlers["meta"] = ocp.JsonCheckpointHandler()
        with self._storage_errors("cannot be used for checkpoints"):
            self._manager = ocp.CheckpointManager(self.directory, options=options, item_handlers=handlers)

    def __enter__(self) -> "Checkpointer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.close()
        except UserError:
            # The exception already being raised is the first cause.
            if error is None:
                raise

    def save(
        self, step: int, *, params: Any, ema: Any, opt: Any, iterator: grain.DatasetIterator, meta: Mapping[str, Any]
    ) -> None:
        """Saves a step in the background, once the previous save is complete. A step that is already saved is kept.

        The arrays and the iterator's state are copied before this returns: call ``next(iterator)`` and donate buffers
        only afterwards, which is what makes resume exact.

        Args:
          step: the number of training steps done.
          params: tree of arrays.
          ema: tree of arrays.
          opt: optimizer state.
          iterator: the data iterator, positioned at the batch of the next step.
          meta: JSON-serialisable values: config, data fingerprint.

        Raises:
          UserError: this save or the previous one cannot be written.
        """
        if step in self.steps():
            return
        items = ocp.args.Composite(
            params=ocp.args.StandardSave(params),
            ema=ocp.args.StandardSave(ema),
            opt=ocp.args.StandardSave(opt),
            meta=ocp.args.JsonSave({**meta, "format": FORMAT, "step": step, "data": iterator.get_state()}),
        )
        with self._storage_errors(f"step {step} cannot be saved; earlier checkpoints are intact"):
            # Without force, Orbax silently skips a step below the latest one.
            self._manager.save(step, args=items, force=True)

    def save_weights(self, ema: Any, meta: Mapping[str, Any]) -> None:
        """Saves weights alone, as step 0: a run can start from them, but not resume from them.

        Args:
          ema: tree of arrays.
          meta: as for ``save``.

        Raises:
          UserError: it cannot be written.
        """
        items = ocp.args.Composite(
            ema=ocp.args.StandardSave(ema), meta=ocp.args.JsonSave({**meta, "format": FORMAT, "step": 0})
        )
        with self._storage_errors("the weights cannot be saved"):
            self._manager.save(0, args=items, force=True)

    def steps(self) -> list[int]:
        """The steps that are saved completely, in order. Raises UserError if the save in flight fails."""
        self.wait()
        return sorted(self._manager.all_steps())

    def latest_step(self) -> int | None:
        """The last step that is saved completely, or None. Raises UserError if the save in flight fails."""
        return max(self.steps(), default=None)

    def restore(
        self,
        step: int | None = None,
        *,
        abstract: Mapping[str, Any],
        iterator: grain.DatasetIterator | None = None,
    ) -> dict[str, Any]:
        """Restores the requested items, and reads no others.

        Args:
          step: which step; the latest if not given.
          abstract: for each requested item (``params``, ``ema``, ``opt``) a tree of ``jax.ShapeDtypeStruct`` with
            shardings. Its shapes must be the saved ones; its dtypes and shardings may differ.
          iterator: set to the saved state, if given.

        Returns:
          The items, each with the structure of its abstract tree.

        Raises:
          UserError: there is no such step, another version of irg_jax wrote it, its arrays are not those of
            ``abstract``, or its files are damaged.
          ValueError: a leaf of ``abstract`` has no sharding.
        """
        step = self._existing(step)
        # Before the arrays, whose error would not say that another version wrote them.
        meta = self.restore_meta(step)
        self._check_same_arrays(step, abstract)
        items: dict[str, Any] = {name: ocp.args.StandardRestore(tree) for name, tree in abstract.items()}
        with self._damage_errors(step):
            restored = self._manager.restore(step, args=ocp.args.Composite(**items))
            if iterator is not None:
                # All processes are at the same batch, so one state is valid for any number of processes.
                iterator.set_state(meta["data"])
        return {name: restored[name] for name in abstract}

    def restore_meta(self, step: int | None = None) -> dict[str, Any]:
        """The ``meta`` saved with a step (the latest if not given). Raises UserError as ``restore`` does."""
        step = self._existing(step)
        with self._damage_errors(step):
            meta = dict(self._manager.restore(step, args=ocp.args.Composite(meta=ocp.args.JsonRestore()))["meta"])
        if meta.get("format") != FORMAT:
            raise UserError(
                f"{self.directory}: the checkpoint of step {step} was written by another version of irg_jax (format "
                f"{meta.get('format', 1)}, this version reads {FORMAT}); use that version, or convert or train again"
            )
        return meta

    def wait(self) -> None:
        """Waits until the save in flight is complete. Raises UserError if it fails."""
        if self._failed:
            return
        with self._storage_errors("a checkpoint cannot be saved; earlier checkpoints are intact"):
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits, then frees threads and files. Raises UserError if the save in flight fails and no call has said so."""
        self.wait()
        if not self._failed:
            self._manager.close()

    def _existing(self, step: int | None) -> int:
        steps = self.steps()
        if not steps:
            raise UserError(f"{self.directory}: has no complete checkpoint")
        if step is not None and step not in steps:
            raise UserError(f"{self.directory}: no checkpoint of step {step}; there are {', '.join(map(str, steps))}")
        return steps[-1] if step is None else step

    def _check_same_arrays(self, step: int, abstract: Mapping[str, Any]) -> None:
        """Compares names and shapes before Orbax does, whose own error does not say that the config differs."""
        with self._damage_errors(step):
            metadata = self._manager.item_metadata(step)
        for item, tree in abstract.items():
            if metadata.get(item) is None:
                raise UserError(f"{self.directory}: the checkpoint of step {step} has no {item}")
            wanted = {_leaf_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
            unsharded = [name for name, leaf in wanted.items() if leaf.sharding is None]
            if unsharded:
                raise ValueError(f"abstract {item} has no sharding at {unsharded[0]}")
            is_array = lambda node: hasattr(node, "shape")  # noqa: E731
            saved = {leaf.name: leaf for leaf in jax.tree.leaves(metadata[item].tree, is_leaf=is_array)}
            differences = [
                f"{name} is {_shape(saved.get(name))} in the checkpoint, {_shape(wanted.get(name))} here"
                for name in [*wanted, *(name for name in saved if name not in wanted)]
                if _shape(saved.get(name)) != _shape(wanted.get(name))
            ]
            if differences:
                more = f" and {len(differences) - 3} more" if len(differences) > 3 else ""
                raise UserError(
                    f"{self.directory}: the checkpoint of step {step} is of another config: in {item}, "
                    f"{'; '.join(differences[:3])}{more}"
                )

    @contextlib.contextmanager
    def _storage_errors(self, what: str) -> Iterator[None]:
        """Turns storage errors into a UserError; anything else is a bug and keeps its traceback."""
        try:
            yield
        except Exception as error:
            if not is_storage_error(error):
                raise
            # Orbax raises a failed save again at every later call; the user is told once.
            self._failed = True
            raise UserError(f"{self.directory}: {what}: {storage_reason(error)}") from error

    @contextlib.contextmanager
    def _damage_errors(self, step: int) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, KeyError) as error:
            raise UserError(
                f"{self.directory}: the checkpoint of step {step} cannot be read, its files may be damaged; "
                f"remove the folder of that step to resume from an earlier one: {storage_reason(error)}"
            ) from error


def _leaf_name(path: tuple[Any, ...]) -> str:
    return ".".join(str(ocp.utils.get_key_name(key)) for key in path)


def _shape(leaf: Any) -> str:
    return "absent" if leaf is None else str(tuple(leaf.shape))


def filter_orbax_logs() -> None:
    """Hides Orbax's progress and the tracebacks of errors that it also raises. Its other warnings are shown."""
    for logger, keep in (("absl", _keep_absl), ("asyncio", _keep_asyncio)):
        # Adding the same function again changes nothing.
        logging.getLogger(logger).addFilter(keep)


def _keep_absl(record: logging.LogRecord) -> bool:
    if "orbax" not in pathlib.Path(record.pathname).parts:
        return True
    shown = record.levelno >= logging.WARNING and not record.exc_info
    return shown and not record.getMessage().startswith(_HARMLESS_WARNINGS)


def _keep_asyncio(record: logging.LogRecord) -> bool:
    """Of several damaged arrays Orbax raises the first error and leaves the others to be reported at exit."""
    return not (record.exc_info and "OCDBT" in str(record.exc_info[1]))
