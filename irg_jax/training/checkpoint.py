"""Checkpoints: one Orbax ``CheckpointManager`` with params, EMA, optimizer, data iterator and meta as separate items.

Separate items because Orbax can leave out whole items on restore but not parts of one: sampling reads only ``ema``.
A checkpoint is written into a temporary folder that gets its name when it is complete, so what has a step's name is
whole, whatever killed the run.
"""

import contextlib
import json
import logging
import os
import pathlib
import re
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

import grain
import jax
import orbax.checkpoint as ocp

from irg_jax.errors import UserError

TREES = ("params", "ema", "opt")
_DIGITS = 8  # of a step's folder


class Checkpointer:
    """The checkpoints of one folder. A context manager: leaving it waits for the save that is still being written."""

    def __init__(self, directory: str | os.PathLike[str], *, keep: int = 1, read_only: bool = False):
        """Opens the folder.

        Args:
          directory: the folder; made if it is missing, unless ``read_only``.
          keep: how many checkpoints stay; older ones go once a newer one is complete.
          read_only: never writes or cleans up: for reading the checkpoints of a run that may still be going on.

        Raises:
          UserError: the folder is missing (``read_only``) or cannot be made.
        """
        self.directory = pathlib.Path(directory).absolute()
        self._failed = False
        if read_only and not self.directory.is_dir():
            raise UserError(f"{self.directory}: no such checkpoint folder")
        _make_quiet()
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep,
            step_format_fixed_length=_DIGITS,
            cleanup_tmp_directories=not read_only,
            create=not read_only,
            read_only=read_only,
        )
        # Handlers by name, so that metadata can be read before anything is saved or restored.
        handlers: dict[str, Any] = {name: ocp.StandardCheckpointHandler() for name in TREES}
        handlers |= {"data": grain.checkpoint.CheckpointHandler(), "meta": ocp.JsonCheckpointHandler()}
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
            # The error that is on its way already says what went wrong first.
            if error is None:
                raise

    def save(
        self, step: int, *, params: Any, ema: Any, opt: Any, iterator: grain.DatasetIterator, meta: Mapping[str, Any]
    ) -> None:
        """Saves a step in the background, after the save before it is complete. A step saved already is left as it is.

        The arrays and the iterator's state are copied before this returns: call ``next(iterator)`` and donate buffers
        only afterwards, which is what makes resume exact.

        Args:
          step: the number of training steps behind this state.
          params: tree of arrays.
          ema: tree of arrays.
          opt: optimizer state.
          iterator: the data iterator, at the batch that the next step will see.
          meta: what JSON can hold: config, data fingerprint.

        Raises:
          UserError: this save or the one before it cannot be written.
        """
        if step in self.steps():
            return
        items = ocp.args.Composite(
            params=ocp.args.StandardSave(params),
            ema=ocp.args.StandardSave(ema),
            opt=ocp.args.StandardSave(opt),
            data=grain.checkpoint.CheckpointSave(iterator),
            meta=ocp.args.JsonSave({**meta, "step": step}),
        )
        with self._storage_errors(f"step {step} cannot be saved; earlier checkpoints are intact"):
            # Without force, Orbax skips a step below the latest one in silence.
            self._manager.save(step, args=items, force=True)

    def save_weights(self, ema: Any, meta: Mapping[str, Any]) -> None:
        """Saves weights alone, as step 0: what a run can start from, but not go on from.

        Args:
          ema: tree of arrays.
          meta: as for ``save``.

        Raises:
          UserError: it cannot be written.
        """
        items = ocp.args.Composite(ema=ocp.args.StandardSave(ema), meta=ocp.args.JsonSave({**meta, "step": 0}))
        with self._storage_errors("the weights cannot be saved"):
            self._manager.save(0, args=items, force=True)

    def steps(self) -> list[int]:
        """Gives the steps that are saved completely, in order. Raises UserError if the save under way fails."""
        self.wait()
        return sorted(self._manager.all_steps())

    def latest_step(self) -> int | None:
        """Gives the last step that is saved completely, or None. Raises UserError if the save under way fails."""
        return max(self.steps(), default=None)

    def restore(
        self,
        step: int | None = None,
        *,
        abstract: Mapping[str, Any],
        iterator: grain.DatasetIterator | None = None,
    ) -> dict[str, Any]:
        """Reads back the items that are asked for, and no others.

        Args:
          step: which one; the latest if not given.
          abstract: for each item wanted (``params``, ``ema``, ``opt``) a tree of ``jax.ShapeDtypeStruct`` with
            shardings. Its shapes must be those saved; its dtypes and shardings need not be.
          iterator: set to the state that was saved, if given.

        Returns:
          The items, each with the structure of its abstract tree.

        Raises:
          UserError: there is no such step, it has other arrays than ``abstract``, or its files are damaged.
          ValueError: a leaf of ``abstract`` has no sharding.
        """
        step = self._existing(step)
        self._check_same_arrays(step, abstract)
        items: dict[str, Any] = {name: ocp.args.StandardRestore(tree) for name, tree in abstract.items()}
        with self._damage_errors(step):
            restored = self._manager.restore(step, args=ocp.args.Composite(**items))
            if iterator is not None:
                # All processes stand at the same batch, each of its own share: one state is everybody's, also of those
                # who were more or fewer then. Grain's own handler wants the file of this process.
                first = min((self.directory / f"{step:0{_DIGITS}d}" / "data").glob("process_*.json"))
                iterator.set_state(json.loads(first.read_text("utf-8")))
        return {name: restored[name] for name in abstract}

    def restore_meta(self, step: int | None = None) -> dict[str, Any]:
        """Gives the ``meta`` saved with a step (the latest if not given). Raises UserError as ``restore`` does."""
        step = self._existing(step)
        with self._damage_errors(step):
            return dict(self._manager.restore(step, args=ocp.args.Composite(meta=ocp.args.JsonRestore()))["meta"])

    def wait(self) -> None:
        """Waits until the save under way is complete. Raises UserError if it fails."""
        if self._failed:
            return
        with self._storage_errors("a checkpoint cannot be saved; earlier checkpoints are intact"):
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits, then frees threads and files. Raises UserError if the save under way fails, once."""
        self.wait()
        if not self._failed:
            self._manager.close()

    def _existing(self, step: int | None) -> int:
        steps = self.steps()
        if not steps:
            raise UserError(f"{self.directory}: holds no complete checkpoint")
        if step is not None and step not in steps:
            raise UserError(f"{self.directory}: no checkpoint of step {step}; there are {', '.join(map(str, steps))}")
        return steps[-1] if step is None else step

    def _check_same_arrays(self, step: int, abstract: Mapping[str, Any]) -> None:
        """Compares names and shapes before Orbax does, whose own error does not say that the config is another one."""
        with self._damage_errors(step):
            metadata = self._manager.item_metadata(step)
        for item, tree in abstract.items():
            if metadata.get(item) is None:
                raise UserError(f"{self.directory}: the checkpoint of step {step} has no {item}")
            wanted = {_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
            unplaced = [name for name, leaf in wanted.items() if leaf.sharding is None]
            if unplaced:
                raise ValueError(f"abstract {item} has no sharding at {unplaced[0]}")
            is_array = lambda node: hasattr(node, "shape")  # noqa: E731
            saved = {leaf.name: leaf for leaf in jax.tree.leaves(metadata[item].tree, is_leaf=is_array)}
            differences = [
                f"{name} is {_shape(saved.get(name))} there, {_shape(wanted.get(name))} here"
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
        """Turns what the storage refuses into a UserError; anything else is a bug and keeps its traceback."""
        try:
            yield
        except Exception as error:
            if not isinstance(error, OSError) and not re.search(_STORAGE_REFUSED, str(error)):
                raise
            # Orbax raises a failed save again at every later call; the user hears of it once.
            self._failed = True
            raise UserError(f"{self.directory}: {what}: {_reason(error)}") from error

    @contextlib.contextmanager
    def _damage_errors(self, step: int) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, KeyError) as error:
            raise UserError(
                f"{self.directory}: the checkpoint of step {step} cannot be read, its files may be damaged; "
                f"remove the folder of that step to go on from an earlier one: {_reason(error)}"
            ) from error


def read_ema(run: pathlib.Path, abstract: Any) -> Any:
    """The EMA weights of the latest checkpoint of a run, or of a converted one, straight into their shards.

    Args:
      run: a folder with ``checkpoints``.
      abstract: shapes with shardings; a dtype that is not the saved one is cast to.

    Raises:
      UserError: no checkpoint, one of another config, or a damaged one.
    """
    with Checkpointer(run / "checkpoints", read_only=True) as checkpoints:
        return checkpoints.restore(abstract={"ema": abstract})["ema"]


# TensorStore puts the operating system's error into the text of a ValueError.
_STORAGE_REFUSED = "No space left on device|Disk quota exceeded|Permission denied|Read-only file system|File too large"


def _reason(error: Exception) -> str:
    """The operating system's words where there are any, else the first line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    known = re.search(_STORAGE_REFUSED, str(error))
    return known[0] if known else (str(error).splitlines() or [type(error).__name__])[0][:200]


def _name(path: tuple[Any, ...]) -> str:
    return ".".join(str(ocp.utils.get_key_name(key)) for key in path)


def _shape(leaf: Any) -> str:
    return "absent" if leaf is None else str(tuple(leaf.shape))


def _make_quiet() -> None:
    """Keeps Orbax's progress, warnings and tracebacks off the terminal: its errors arrive as exceptions anyway."""
    for logger, keep in (("absl", _keep_absl), ("asyncio", _keep_asyncio)):
        # Adding the same function again changes nothing.
        logging.getLogger(logger).addFilter(keep)


def _keep_absl(record: logging.LogRecord) -> bool:
    from_orbax = "orbax" in pathlib.Path(record.pathname).parts
    return not from_orbax or (record.levelno >= logging.ERROR and not record.exc_info)


def _keep_asyncio(record: logging.LogRecord) -> bool:
    """Of several damaged arrays Orbax raises the first and leaves the others to be reported at exit."""
    return not (record.exc_info and "OCDBT" in str(record.exc_info[1]))
