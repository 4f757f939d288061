"""Records that cannot be used: named, and either the end of the run or left out of it."""

import logging

from irg_jax.core.errors import UserError
from irg_jax.data.index.store import REJECTED, StoredIndex

MAX_REPLACED = 0.01  # of the records of a source: with more, something else is wrong with the data


def use_without(index: StoredIndex, records: int, name: str, replaces: bool) -> None:
    """Decides whether a run goes on without the records that are not in an index.

    Args:
      index: of the source.
      records: of the source.
      name: of the source, for the message.
      replaces: whether a run may go on without them.

    Raises:
      UserError: there are such records, and the run may not go on, or too many.
    """
    if not index.rejected:
        return
    path = index.folder / REJECTED
    count, first = len(index.rejected), index.rejected[0].reason
    if not replaces:
        more = f" ({count} records of {records} cannot be used: {path} lists them)" if count > 1 else ""
        raise UserError(f"{first}{more}")
    if count > max(MAX_REPLACED * records, 1):
        raise UserError(
            f"{name}: {count} of {records} records cannot be used, more than {MAX_REPLACED:.0%}, first: {first}; "
            f"{path} lists them"
        )
    logging.warning(
        "%s: %d of %d records cannot be used and are left out, listed in %s, first: %s",
        name, count, records, path, first,
    )  # fmt: skip
