"""The exceptions that a user is meant to read."""


class UserError(Exception):
    """Something the user can put right: bad config, bad data, bad checkpoint.

    Its text is one line that says what was wrong, where (file, key, row or shape) and what to do. The commands print it
    after ``error:`` and exit with status 2; they show no traceback for it.
    """


class StorageError(Exception):
    """Storage that went on answering with errors although it was asked again for about a minute.

    Nothing is wrong with the run, so it is not a ``UserError``: the commands print it after ``error:`` and exit with
    status 75, at which launchers start the run again.
    """


class ConfigError(UserError):
    """A key or value of a config that cannot be: ``config.optim.lr: must be > 0``.

    Attributes:
      key: dotted, below the root of the config or below the section that is being built.
      message: what is wrong with it and what is allowed.
    """

    def __init__(self, key: str, message: str):
        super().__init__(f"config.{key}: {message}")
        self.key, self.message = key, message

    def below(self, section: str) -> "ConfigError":
        """The same error with its key counted from the section around it."""
        return ConfigError(f"{section}.{self.key}", self.message) if section else self


def check(condition: object, key: str, message: str) -> None:
    """Raises a ConfigError for ``key`` unless ``condition`` holds."""
    if not condition:
        raise ConfigError(key, message)
