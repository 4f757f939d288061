"""Byte-level BPE in Qwen2's file format, for Qwen2's own files and for those trained here."""

import functools
import json
import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from irg_jax.core import small_files
from irg_jax.core.errors import UserError
from irg_jax.core.storage import as_path, retry, storage_reason
from irg_jax.data import tokenizer_files

# Qwen2 splits text into these pieces before it merges bytes: contractions, words, digits, punctuation, white space.
_PIECES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
PAD, BOS, EOS = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
VISION_START, VISION_END = "<|vision_start|>", "<|vision_end|>"
SPECIAL_TOKENS = (PAD, BOS, EOS, VISION_START, VISION_END)
FILES = tokenizer_files.FILES  # of a tokenizer, those that it has
_CACHED_TEXTS = 1 << 11  # about 40 MB of the longest thinking texts


class Tokenizer:
    """Text to ids and back, with the ids of the special tokens of a conversation.

    Args:
      directory: holds ``tokenizer.json``, or ``vocab.json`` and ``merges.txt``, and perhaps more of ``FILES``. Added
        tokens have the ids that the files declare. Special tokens that no file declares come after them, in the order
        of ``SPECIAL_TOKENS``, as in the published code.

    Raises:
      UserError: files missing or unreadable, or a token that cannot have the id that they declare.
    """

    def __init__(self, directory: str | os.PathLike):
        self.directory = Path(directory)
        self._tokenizer = tokenizer_files.read(self.directory, _make)
        self._encode = functools.lru_cache(_CACHED_TEXTS)(self._encode_now)
        tokenizer_files.add_missing(self._tokenizer, SPECIAL_TOKENS)
        self.pad, self.bos, self.eos, self.vision_start, self.vision_end = map(self._special, SPECIAL_TOKENS)

    def __reduce__(self) -> tuple:
        return Tokenizer, (self.directory,)

    def _special(self, token: str) -> int:
        found = self._tokenizer.token_to_id(token)
        assert found is not None, token  # the constructor has added it if the files lacked it
        return found

    @property
    def size(self) -> int:
        """The largest id and one: the embedding needs at least this many rows."""
        return max(self._tokenizer.get_vocab(with_added_tokens=True).values()) + 1

    def encode(self, text: str) -> tuple[int, ...]:
        """Ids of ``text``, without special tokens around it. The latest texts are cached: samples share some."""
        return self._encode(text)

    def count(self, texts: Sequence[str]) -> list[int]:
        """Number of ids of each of many texts, in parallel and past the cache."""
        return [len(found) for found in self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]

    def _encode_now(self, text: str) -> tuple[int, ...]:
        return tuple(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: Iterable[int]) -> str:
        """Text of ``ids``; special tokens are skipped, bytes that are not valid UTF-8 become U+FFFD."""
        return self._tokenizer.decode([int(i) for i in ids], skip_special_tokens=True)


def is_complete(directory: str | os.PathLike) -> bool:
    """Whether a tokenizer is there: ``train`` writes ``tokenizer.json`` last. An empty or cut one is none.

    Raises:
      UserError: the file is there and cannot be read.
    """
    path = Path(directory) / tokenizer_files.WHOLE
    if not small_files.is_there(path):
        return False
    try:
        return isinstance(json.loads(small_files.read_text(path)), dict)
    except ValueError:
        return False
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({storage_reason(error)}); remove it") from error


def copy(source: str | os.PathLike, target: str | os.PathLike) -> None:
    """Copies a tokenizer's own files, without permissions, into a folder that is made if it is missing.

    Whatever else is in the source stays there: it may be the folder of a whole model. Files that are there already stay
    as they are, and nothing is copied onto itself.

    Raises:
      UserError: the source has no tokenizer, a file cannot be read or written, or the target has another tokenizer.
      StorageError: the storage went on answering with errors.
    """
    origin, folder = as_path(source), as_path(target)
    names = [name for name in FILES if small_files.is_there(origin / name)]
    if not names:
        raise UserError(f"{origin}: no tokenizer here; give the folder that holds {tokenizer_files.WHOLE}")
    if small_files.is_same_folder(origin, folder):
        return
    for name in names:
        if small_files.is_there(folder / name) and _content(folder / name) != _content(origin / name):
            raise UserError(
                f"{folder / name}: differs from {origin / name}, and a run keeps its tokenizer; give {folder} as "
                "tokenizer, or start another run"
            )
    small_files.copy_files(origin, folder, names)


def _content(path: Path) -> bytes:
    try:
        return retry(path.read_bytes, f"{path}: cannot be read")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({storage_reason(error)}); copy the tokenizer again") from error


def train(texts: Iterable[str], vocab_size: int, directory: str | os.PathLike) -> Tokenizer:
    """Trains a tokenizer on ``texts`` and writes it in Qwen2's file format.

    Args:
      texts: the training texts; the result depends only on them and on ``vocab_size``.
      vocab_size: total number of ids, at least 256 bytes + the special tokens.
      directory: where ``tokenizer.json``, ``vocab.json``, ``merges.txt`` and ``tokenizer_config.json`` go; each is
        written completely or not at all, ``tokenizer.json`` last.

    Raises:
      UserError: ``vocab_size`` is too small, or the folder cannot be written to or holds another tokenizer.
      StorageError: the storage went on answering with errors.
    """
    smallest = 256 + len(SPECIAL_TOKENS)
    if vocab_size < smallest:
        raise UserError(f"vocab_size {vocab_size} is too small for a byte-level tokenizer; use at least {smallest}")
    tokenizer = _make(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([tokenizers.AddedToken(t, normalized=False) for t in SPECIAL_TOKENS])
    added = {
        str(tokenizer.token_to_id(t)): {"content": t, "special": True, "normalized": False} for t in SPECIAL_TOKENS
    }
    tokenizer_config = {
        "tokenizer_class": "Qwen2Tokenizer",
        "added_tokens_decoder": added,
        "additional_special_tokens": list(SPECIAL_TOKENS[1:]),
        "add_prefix_space": False,
        "bos_token": None,
        "eos_token": EOS,
        "pad_token": PAD,
        "unk_token": None,
        "errors": "replace",
        "clean_up_tokenization_spaces": False,
        "model_max_length": 131072,
    }
    with tempfile.TemporaryDirectory() as scratch:
        tokenizer.model.save(scratch)  # the library writes in place
        files = {
            name: Path(scratch, name).read_text("utf-8") for name in (tokenizer_files.VOCAB, tokenizer_files.MERGES)
        }
    files[tokenizer_files.CONFIG] = json.dumps(tokenizer_config, indent=1)
    files[tokenizer_files.WHOLE] = tokenizer.to_str(pretty=True)  # last: with it the folder is complete
    small_files.make_folder(directory)
    _refuse_other_vocab(Path(directory) / tokenizer_files.VOCAB, files[tokenizer_files.VOCAB])
    for name, text in files.items():
        _write(Path(directory) / name, text)
    return Tokenizer(directory)


def _refuse_other_vocab(path: Path, vocab: str) -> None:
    """A folder with vocab.json and merges.txt alone is a tokenizer too, and must not be replaced by a trained one."""
    try:
        there = json.loads(small_files.read_text(path))
    except (OSError, ValueError):
        return  # missing, or cut by a crash
    if there != json.loads(vocab):
        raise UserError(f"{path}: belongs to another tokenizer; give another folder for the one that is trained here")


def _write(path: Path, text: str) -> None:
    try:
        retry(lambda: small_files.write_text(path, text), f"{path}: cannot be written")
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({storage_reason(error)}); choose another folder") from error


def _make(model: models.Model) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(_PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer
