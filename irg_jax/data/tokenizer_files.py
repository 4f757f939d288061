"""Reads the files of a tokenizer in Qwen2's format, with every added token at the id that the files declare.

The ids are those of the ``transformers`` library: a token that is added gets the next free id, so tokens are added in
the order of their declared ids. Where a token cannot get its id that way, the tokenizer is refused: the weights know
the declared one.
"""

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import models

from irg_jax.core.errors import UserError
from irg_jax.core.small_files import is_there, read_text
from irg_jax.core.storage import storage_reason

WHOLE, VOCAB, MERGES = "tokenizer.json", "vocab.json", "merges.txt"
CONFIG, ADDED, SPECIAL = "tokenizer_config.json", "added_tokens.json", "special_tokens_map.json"
FILES = (WHOLE, VOCAB, MERGES, CONFIG, ADDED, SPECIAL)

# The order in which ``transformers`` adds special tokens that are named, but have no declared id.
_NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_MORE_NAMES = "additional_special_tokens"
_FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")


@dataclasses.dataclass(frozen=True)
class Declared:
    """A token whose id a file declares.

    Attributes:
      id: the id.
      token: the text, and how it is found in texts.
      file: name of the file.
    """

    id: int
    token: tokenizers.AddedToken
    file: str


def read(directory: Path, make: Callable[[models.Model], tokenizers.Tokenizer]) -> tokenizers.Tokenizer:
    """Reads a tokenizer with all its added tokens.

    Args:
      directory: holds ``tokenizer.json``, or ``vocab.json`` and ``merges.txt``; and the other ones of ``FILES`` or not.
      make: makes a tokenizer around the model of ``vocab.json`` and ``merges.txt``.

    Raises:
      UserError: files missing or unreadable, or a token that cannot have the id that they declare.
    """
    has = {name for name in FILES if is_there(directory / name)}
    whole = _read_object(directory / WHOLE) if WHOLE in has else {}
    vocab = _read_vocab(directory / VOCAB) if VOCAB in has else {}
    try:
        if WHOLE in has:
            # Its own added tokens are added below: the library numbers them in the order of the list.
            tokenizer = tokenizers.Tokenizer.from_str(json.dumps(whole | {"added_tokens": []}))
        elif {VOCAB, MERGES} <= has:
            tokenizer = make(models.BPE(vocab=vocab, merges=_read_merges(directory / MERGES)))
        else:
            raise UserError(f"{directory}: no tokenizer here; it needs {WHOLE}, or {VOCAB} and {MERGES}")
    except UserError:
        raise
    except Exception as error:  # the library raises bare Exception
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise _unreadable(directory, reason) from error
    config = _read_object(directory / CONFIG) if CONFIG in has else {}
    added = _read_object(directory / ADDED) if ADDED in has else {}
    special = _read_object(directory / SPECIAL) if SPECIAL in has else {}
    if "added_tokens_decoder" in config:
        special = {}  # only older folders need it, and transformers does not read it in newer ones
    named = _guarded(directory / CONFIG, lambda: _named(config, special))
    declared = [
        *_guarded(directory / CONFIG, lambda: list(_of_config(config))),
        *_guarded(directory / WHOLE, lambda: list(_of_whole(whole))),
        *_guarded(directory / ADDED, lambda: list(_of_added(added, named))),
    ]
    model_file = WHOLE if WHOLE in has else VOCAB
    _check_same_vocab(directory, tokenizer, vocab if WHOLE in has else {}, declared)
    _add_declared(directory, tokenizer, declared, model_file)
    add_missing(tokenizer, named)
    _check_unique(directory, tokenizer)
    return tokenizer


def add_missing(tokenizer: tokenizers.Tokenizer, tokens: Iterable[str]) -> None:
    """Adds the special tokens that the tokenizer lacks, each at the next free id; makes those it has special ones."""
    has = {token.content: token for token in tokenizer.get_added_tokens_decoder().values()}
    for text in tokens:
        if text not in has:
            tokenizer.add_special_tokens([tokenizers.AddedToken(text, normalized=False, special=True)])
        elif not has[text].special:
            token = has[text]
            token.special = True
            tokenizer.add_special_tokens([token])


def _add_declared(directory: Path, tokenizer: tokenizers.Tokenizer, declared: list[Declared], model_file: str) -> None:
    by_text: dict[str, Declared] = {}
    for one in declared:
        other = by_text.setdefault(one.token.content, one)
        if other.id != one.id:
            where = f"the entries of {one.file}" if one.file == other.file else f"{other.file} and {one.file}"
            raise _conflict(directory, where, f"give two ids to {_text(one)}, {other.id} and {one.id}")
    vocab = tokenizer.get_vocab(with_added_tokens=False)
    by_id = {i: (token, model_file) for token, i in vocab.items()}
    free = max(by_id, default=-1) + 1
    for one in sorted(by_text.values(), key=lambda one: one.id):
        known = vocab.get(one.token.content)
        if known is not None and known != one.id:
            raise _conflict(directory, one.file, f"gives {_text(one)} the id {one.id}, {model_file} the id {known}")
        text, file = by_id.setdefault(one.id, (one.token.content, one.file))
        if text != one.token.content:
            raise _conflict(
                directory, one.file, f"gives {_text(one)} the id {one.id}, which {file} gives {text!r}; {free} is free"
            )
        tokenizer.add_tokens([one.token])
        found = tokenizer.token_to_id(one.token.content)
        if found != one.id:
            raise _conflict(directory, one.file, f"gives {_text(one)} the id {one.id}, but the next free id is {found}")
        free = max(free, one.id + 1)


def _check_same_vocab(
    directory: Path, tokenizer: tokenizers.Tokenizer, vocab: Mapping[str, int], declared: list[Declared]
) -> None:
    """The published code reads vocab.json where this one reads tokenizer.json: both have to give the same ids."""
    whole = {one.token.content: one.id for one in declared} | tokenizer.get_vocab(with_added_tokens=False)
    by_id = {i: token for token, i in whole.items()}
    for token, i in vocab.items():
        if whole.get(token, i) != i:
            raise _conflict(directory, VOCAB, f"gives {token!r} the id {i}, {WHOLE} the id {whole[token]}")
        if by_id.get(i, token) != token:
            raise _conflict(directory, VOCAB, f"gives {token!r} the id {i}, which is {by_id[i]!r} in {WHOLE}")


def _check_unique(directory: Path, tokenizer: tokenizers.Tokenizer) -> None:
    by_id: dict[int, str] = {}
    for token, i in tokenizer.get_vocab(with_added_tokens=True).items():
        if by_id.setdefault(i, token) != token:
            tokens = f"{by_id[i]!r} and {token!r}"
            raise UserError(f"{directory}: the tokens {tokens} have both the id {i}; copy the tokenizer files again")


def _conflict(directory: Path, file: str, problem: str) -> UserError:
    return UserError(f"{directory}: {file} {problem}; copy all tokenizer files from the model again")


def _text(one: Declared) -> str:
    return repr(one.token.content)


# --- what each file declares


def _of_config(config: Mapping[str, Any]) -> Iterator[Declared]:
    for i, entry in config.get("added_tokens_decoder", {}).items():
        yield Declared(_id(i), _token(entry), CONFIG)


def _of_whole(whole: Mapping[str, Any]) -> Iterator[Declared]:
    for entry in whole.get("added_tokens") or ():
        yield Declared(_id(entry["id"]), _token(entry), WHOLE)


def _of_added(added: Mapping[str, Any], named: list[str]) -> Iterator[Declared]:
    for text, i in added.items():
        special = text in named
        yield Declared(_id(i), tokenizers.AddedToken(text, normalized=not special, special=special), ADDED)


def _named(config: Mapping[str, Any], special: Mapping[str, Any]) -> list[str]:
    """Special tokens by name, in the order in which they are added. Qwen2's defaults are the padding token."""
    values = {name: "<|endoftext|>" for name in ("eos_token", "unk_token", "pad_token")} | {**config, **special}
    lists = [found.get(_MORE_NAMES) or [] for found in (config, special)]
    if not all(isinstance(found, list) for found in lists):
        raise ValueError(f"{_MORE_NAMES} is not a list")
    more = [token for found in lists for token in found]
    tokens = [values[name] for name in _NAMES if values.get(name)] + more
    return list(dict.fromkeys(_token(token).content for token in tokens))


def _token(entry: Any) -> tokenizers.AddedToken:
    if isinstance(entry, str):
        entry = {"content": entry}
    if not isinstance(entry["content"], str) or not entry["content"]:
        raise ValueError(f"{entry['content']!r} is no token")
    return tokenizers.AddedToken(entry["content"], **{flag: entry[flag] for flag in _FLAGS if flag in entry})


def _id(value: Any) -> int:
    found = int(value) if isinstance(value, str) else value
    if not isinstance(found, int) or isinstance(found, bool) or found < 0:
        raise ValueError(f"{value!r} is no id")
    return found


# --- files


def _read_object(path: Path) -> dict[str, Any]:
    def parse() -> dict[str, Any]:
        found = json.loads(read_text(path), object_pairs_hook=_unique_keys)
        if not isinstance(found, dict):
            raise ValueError("it is not a JSON object")
        return found

    return _guarded(path, parse)


def _read_vocab(path: Path) -> dict[str, int]:
    vocab = _read_object(path)
    by_id: dict[int, str] = {}

    def check() -> None:
        for token, i in vocab.items():
            if by_id.setdefault(_id(i), token) != token:
                raise ValueError(f"the tokens {by_id[i]!r} and {token!r} have both the id {i}")

    _guarded(path, check)
    return vocab


def _read_merges(path: Path) -> list[tuple[str, str]]:
    def parse() -> list[tuple[str, str]]:
        text = read_text(path)
        if not text.strip():
            raise ValueError("it is empty")
        lines = [line for line in text.split("\n") if line and not line.startswith("#version")]
        pairs = [tuple(line.split(" ")) for line in lines]
        wrong = [line for line, pair in zip(lines, pairs, strict=True) if len(pair) != 2]
        if wrong:
            raise ValueError(f"{wrong[0]!r:.60} is not two tokens")
        return [(first, second) for first, second in pairs]

    return _guarded(path, parse)


def _guarded(path: Path, work: Callable[[], Any]) -> Any:
    """Errors of reading become one line that names the file."""
    try:
        return work()
    except OSError as error:
        reason: str = storage_reason(error)
        raise _unreadable(path.parent, f"{path.name}: {reason}") from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else (str(error).splitlines() or ["damaged"])[0][:200]
        raise _unreadable(path.parent, f"{path.name}: {reason}") from error


def _unreadable(directory: Path, reason: str) -> UserError:
    return UserError(f"{directory}: the tokenizer files cannot be read ({reason}); copy or train them again")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} stands there twice")
    return found
