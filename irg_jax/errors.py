"""The one exception that a user is meant to read."""


class UserError(Exception):
    """Something the user can put right: bad config, bad data, bad checkpoint.

    Its text is one line that says what was wrong, where (file, key, row or shape) and what to do. The commands print it
    after ``error:`` and exit with status 2; they show no traceback for it.
    """
