"""Checkpoints: one Orbax ``CheckpointManager`` with params, EMA, optimizer and metadata as separate items.

Separate items because Orbax can skip whole items on restore but not parts of one: sampling reads only ``ema``.
A checkpoint is written into a temporary folder that is renamed once it is complete, so a folder with a step's name is
always a complete checkpoint, whatever killed the run. (On buckets, which cannot rename, a last small file marks it.)
"""

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, TypeVar

import jax
import orbax.checkpoint as ocp

from irg_jax.checkpoints.orbax_logs import filter_orbax_logs
from irg_jax.checkpoints.preservation import kept, rank
from irg_jax.core import storage
from irg_jax.core.errors import StorageError, UserError
from irg_jax.core.storage import AnyPath, as_path, is_storage_error, is_transient, retry, storage_reason

T = TypeVar("T")

TREES = ("params", "ema", "opt")
FORMAT = 3  # version of the metadata: 3 has the next row of the data and the state of the packing plan there
_STEP_DIGITS = 8  # in the name of a step's folder
_FAILURES = 3  # checkpoints in a row that cannot be written, after which a run ends


class Checkpointer:
    """The checkpoints of one folder. A context manager: leaving it waits for the save in flight.

    Storage that answers with errors that may pass by themselves is asked again. A checkpoint that is lost in the
    background is given up, and the next one is tried; three in a row are a StorageError. With several processes nothing
    is tried again: Orbax keeps them together with barriers, at which one that tries again would meet the others in
    another place. The first failure is a StorageError there, with which all of them end, to be started again.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        keep: int = 1,
        keep_every: int = 0,
        best: str = "",
        read_only: bool = False,
        alone: bool = False,
    ):
        """Opens the folder.

        Args:
          directory: the folder, or its URL; created if it is missing, unless ``read_only``.
          keep: how many of the latest checkpoints are kept; others are deleted once a newer one is complete.
          keep_every: those of steps that are multiples of this are kept too; 0 for none.
          best: the one with the lowest value of this metric (see ``save``) is kept too; empty for none.
          read_only: never writes or cleans up: for reading the checkpoints of a run that may still be training.
          alone: only this process opens the folder; otherwise all processes of a run open it, and Orbax makes them wait
            for each other at every call.

        Raises:
          UserError: the folder is missing (``read_only``) or cannot be created.
          StorageError: the storage went on answering with errors.
        """
        self.directory = as_path(directory)
        self._alone = alone or jax.process_count() == 1
        self._ended = False  # nothing more is said about a save that ended the run
        self._failures = 0  # in a row
        self._saving: int | None = None  # the step that is being written
        filter_orbax_logs()
        if read_only and not self._retry(self.directory.is_dir, "cannot be used for checkpoints"):
            raise UserError(f"{self.directory}: no such checkpoint folder")
        if alone and not read_only:  # Orbax does not make it for a single process of several
            self._retry(lambda: self.directory.mkdir(parents=True, exist_ok=True), "cannot be used for checkpoints")
        self._options = ocp.CheckpointManagerOptions(
            preservation_policy=None if read_only else kept(keep, keep_every, best),
            # With it Orbax saves the metrics beside the checkpoint, where the policy finds them after a restart.
            best_fn=(lambda metrics: rank(metrics[best])) if best else None,
            # Orbax warns about the default in a read-only folder.
            save_interval_steps=0 if read_only else 1,
            step_format_fixed_length=_STEP_DIGITS,
            cleanup_tmp_directories=not read_only,
            create=not read_only and not alone,
            read_only=read_only,
            multiprocessing_options=_only_this_process() if alone else ocp.options.MultiprocessingOptions(),
        )
        self._best = best
        with self._storage_errors("cannot be used for checkpoints"):
            self._manager = self._retry(self._open, "cannot be used for checkpoints")

    def _open(self) -> ocp.CheckpointManager:
        # Handlers by name, so that metadata can be read before anything is saved or restored.
        together = {"multiprocessing_options": self._options.multiprocessing_options}
        handlers: dict[str, Any] = {name: ocp.StandardCheckpointHandler(**together) for name in TREES}
        handlers["meta"] = ocp.JsonCheckpointHandler(**together)
        return ocp.CheckpointManager(self.directory, options=self._options, item_handlers=handlers)

    def _reopen(self) -> None:
        """A new manager in place of one that failed, which would raise the same error at every later call."""
        with contextlib.suppress(Exception):
            self._manager.close()
        self._saving = None
        self._manager = self._open()

    def __enter__(self) -> "Checkpointer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.close()
        except (UserError, StorageError) as lost:
            # Ctrl-C means that the state has been saved. Any other exception is the first cause and goes on.
            if error is None or isinstance(error, KeyboardInterrupt):
                raise
            logging.warning("%s", lost)

    def save(
        self,
        step: int,
        *,
        params: Any,
        ema: Any,
        opt: Any,
        data: Mapping[str, Any],
        meta: Mapping[str, Any],
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """Saves a step in the background, once the previous save is complete. A step that is already saved is kept.

        The arrays are copied before this returns: donate buffers only afterwards.

        Args:
          step: the number of training steps done.
          params: tree of arrays.
          ema: tree of arrays.
          opt: optimizer state.
          data: JSON-serialisable state of the data, as the next step is to find it.
          meta: JSON-serialisable values: config, data fingerprint.
          metrics: of this step, for ``best``; a step without that metric is not the best.

        Raises:
          UserError: this save or the previous one cannot be written.
          StorageError: the storage went on answering with errors.
        """
        self._finish(may_lose=True)
        if step in self._manager.all_steps():
            return
        items = ocp.args.Composite(
            params=ocp.args.StandardSave(params),
            ema=ocp.args.StandardSave(ema),
            opt=ocp.args.StandardSave(opt),
            meta=ocp.args.JsonSave({**meta, "format": FORMAT, "step": step, "data": dict(data)}),
        )
        self._save(step, items, {name: float(value) for name, value in (metrics or {}).items()})

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
        self._save(0, items, {})

    def _save(self, step: int, items: ocp.args.Composite, metrics: dict[str, float]) -> None:
        what = f"step {step} cannot be saved; earlier checkpoints are intact"

        def attempt() -> None:
            try:
                # Without force, Orbax silently skips a step below the latest one.
                self._manager.save(step, args=items, metrics=metrics if self._best in metrics else None, force=True)
            except Exception as error:
                if is_transient(error) and self._alone:
                    self._reopen()
                raise

        with self._storage_errors(what):
            self._retry(attempt, what)
        self._saving = step

    def steps(self) -> list[int]:
        """The steps that are saved completely, in order. Raises as ``wait`` does."""
        self.wait()
        return sorted(self._manager.all_steps())

    def latest_step(self) -> int | None:
        """The last step that is saved completely, or None. Raises as ``wait`` does."""
        return max(self.steps(), default=None)

    def restore(
        self,
        step: int | None = None,
        *,
        abstract: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Restores the requested items, and reads no others.

        Args:
          step: which step; the latest if not given.
          abstract: for each requested item (``params``, ``ema``, ``opt``) a tree of ``jax.ShapeDtypeStruct`` with
            shardings. Its shapes must be the saved ones; its dtypes and shardings may differ.

        Returns:
          The items, each with the structure of its abstract tree.

        Raises:
          UserError: there is no such step, another version of irg_jax wrote it, its arrays are not those of
            ``abstract``, or its files are damaged.
          StorageError: the storage went on answering with errors.
          ValueError: a leaf of ``abstract`` has no sharding.
        """
        step = self._existing(step)
        # Before the arrays, whose error would not say that another version wrote them.
        self.restore_meta(step)
        self._check_same_arrays(step, abstract)
        items: dict[str, Any] = {name: ocp.args.StandardRestore(tree) for name, tree in abstract.items()}
        with self._damage_errors(step):
            restored = self._read(step, lambda: self._manager.restore(step, args=ocp.args.Composite(**items)))
        return {name: restored[name] for name in abstract}

    def restore_meta(self, step: int | None = None) -> dict[str, Any]:
        """The ``meta`` saved with a step (the latest if not given). Raises UserError as ``restore`` does."""
        step = self._existing(step)
        with self._damage_errors(step):
            args = ocp.args.Composite(meta=ocp.args.JsonRestore())
            meta = dict(self._read(step, lambda: self._manager.restore(step, args=args))["meta"])
        if meta.get("format") != FORMAT:
            raise UserError(
                f"{self.directory}: the checkpoint of step {step} was written by another version of irg_jax (format "
                f"{meta.get('format', 1)}, this version reads {FORMAT}); use that version, or convert or train again"
            )
        return meta

    def wait(self) -> None:
        """Waits until the save in flight is complete.

        Raises:
          UserError: it cannot be written.
          StorageError: likewise, for a reason that may pass by itself; nothing is tried again.
        """
        self._finish(may_lose=False)

    def close(self) -> None:
        """Waits, then frees threads and files. Raises as ``wait`` does, unless an earlier call has said so."""
        self.wait()
        if not self._ended:
            self._manager.close()

    def _finish(self, may_lose: bool) -> None:
        """Waits for the save in flight; ``may_lose``: a failure is only logged, until there are too many in a row."""
        if self._ended:
            return
        with self._storage_errors("a checkpoint cannot be saved; earlier checkpoints are intact"):
            try:
                self._manager.wait_until_finished()
            except Exception as error:
                if not is_transient(error):
                    raise
                self._failures += 1
                if not may_lose or self._failures >= _FAILURES or not self._alone:
                    raise
                logging.warning(
                    "%s: checkpoint of step %s could not be written (%s); the next one is tried",
                    self.directory,
                    self._saving,
                    storage_reason(error),
                )
                self._retry(self._reopen, "cannot be used for checkpoints")
                return
        if self._saving is not None:
            self._saving, self._failures = None, 0

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
            metadata = self._read(step, lambda: self._manager.item_metadata(step))
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

    def _retry(self, work: Callable[[], T], what: str) -> T:
        return retry(work, f"{self.directory}: {what}", delays=storage.DELAYS if self._alone else ())

    def _read(self, step: int, work: Callable[[], T]) -> T:
        return self._retry(work, f"the checkpoint of step {step} cannot be read")

    @contextlib.contextmanager
    def _storage_errors(self, what: str) -> Iterator[None]:
        """Turns storage errors into those that a user reads; anything else is a bug and keeps its traceback."""
        try:
            yield
        except (UserError, StorageError):
            self._ended = True
            raise
        except Exception as error:
            if not is_storage_error(error):
                raise
            # Orbax raises a failed save again at every later call; the user is told once.
            self._ended = True
            kind = StorageError if is_transient(error) else UserError
            raise kind(f"{self.directory}: {what}: {storage_reason(error)}") from error

    @contextlib.contextmanager
    def _damage_errors(self, step: int) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, KeyError) as error:
            raise UserError(
                f"{self.directory}: the checkpoint of step {step} cannot be read, its files may be damaged; "
                f"remove the folder of that step to resume from an earlier one: {storage_reason(error)}"
            ) from error


def latest_step(folder: AnyPath) -> int | None:
    """The step of the latest checkpoint of a run or a stage, by its folder; None where it has none."""
    if not (folder / "checkpoints").is_dir():
        return None
    with Checkpointer(folder / "checkpoints", read_only=True, alone=True) as checkpoints:
        return checkpoints.latest_step()


def _only_this_process() -> ocp.options.MultiprocessingOptions:
    me = jax.process_index()
    prefix = f"process{me}"
    return ocp.options.MultiprocessingOptions(primary_host=me, active_processes={me}, barrier_sync_key_prefix=prefix)


def _leaf_name(path: tuple[Any, ...]) -> str:
    return ".".join(str(ocp.utils.get_key_name(key)) for key in path)


def _shape(leaf: Any) -> str:
    return "absent" if leaf is None else str(tuple(leaf.shape))
