"""Byte-level BPE in Qwen2's file format, for Qwen2's own files and for those trained here."""

import json
import os
from collections.abc import Iterable
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from irg_jax.core.errors import UserError

# Qwen2 splits text into these pieces before it merges bytes: contractions, words, digits, punctuation, white space.
_PIECES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
PAD, BOS, EOS = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
VISION_START, VISION_END = "<|vision_start|>", "<|vision_end|>"
SPECIAL_TOKENS = (PAD, BOS, EOS, VISION_START, VISION_END)
_CACHED_TEXTS = 1 << 16


class Tokenizer:
    """Text to ids and back, with the ids of the special tokens of a conversation.

    Args:
      directory: holds ``tokenizer.json``, or ``vocab.json`` and ``merges.txt``. Special tokens that the files lack are
        added after the vocabulary in the order of ``SPECIAL_TOKENS``, as the published code does.

    Raises:
      UserError: files missing or unreadable.
    """

    def __init__(self, directory: str | os.PathLike):
        self.directory = Path(directory)
        self._cache: dict[str, tuple[int, ...]] = {}
        self._tokenizer = _read(self.directory)
        self._tokenizer.add_special_tokens([tokenizers.AddedToken(t, normalized=False) for t in SPECIAL_TOKENS])
        self.pad, self.bos, self.eos, self.vision_start, self.vision_end = map(self._special, SPECIAL_TOKENS)

    def _special(self, token: str) -> int:
        found = self._tokenizer.token_to_id(token)
        assert found is not None, token  # the constructor has added it if the files lacked it
        return found

    @property
    def size(self) -> int:
        """Ids in use: the embedding needs at least this many rows."""
        return self._tokenizer.get_vocab_size(with_added_tokens=True)

    def encode(self, text: str) -> tuple[int, ...]:
        """Ids of ``text``, without special tokens around it. Cached, since the six modes share their texts."""
        ids = self._cache.get(text)
        if ids is None:
            ids = tuple(self._tokenizer.encode(text, add_special_tokens=False).ids)
            if len(self._cache) < _CACHED_TEXTS:
                self._cache[text] = ids
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """Text of ``ids``; special tokens are skipped, bytes that are not valid UTF-8 become U+FFFD."""
        return self._tokenizer.decode([int(i) for i in ids], skip_special_tokens=True)


def train(texts: Iterable[str], vocab_size: int, directory: str | os.PathLike) -> Tokenizer:
    """Trains a tokenizer on ``texts`` and writes it in Qwen2's file format.

    Args:
      texts: the training texts; the result depends only on them and on ``vocab_size``.
      vocab_size: total number of ids, at least 256 bytes + the special tokens.
      directory: where ``tokenizer.json``, ``vocab.json``, ``merges.txt`` and ``tokenizer_config.json`` go.
    """
    smallest = 256 + len(SPECIAL_TOKENS)
    if vocab_size < smallest:
        raise UserError(f"vocab_size {vocab_size} is too small for a byte-level tokenizer; use at least {smallest}")
    tokenizer = _empty(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([tokenizers.AddedToken(t, normalized=False) for t in SPECIAL_TOKENS])
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer.model.save(str(directory))
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
    (directory / "tokenizer_config.json").write_text(json.dumps(tokenizer_config, indent=1), encoding="utf-8")
    # Written last, because a folder with tokenizer.json counts as complete.
    temporary = directory / "tokenizer.json.tmp"
    tokenizer.save(str(temporary))
    temporary.replace(directory / "tokenizer.json")
    return Tokenizer(directory)


def _read(directory: Path) -> tokenizers.Tokenizer:
    whole, vocab, merges = (directory / n for n in ("tokenizer.json", "vocab.json", "merges.txt"))
    try:
        if whole.exists():
            return tokenizers.Tokenizer.from_file(str(whole))
        if vocab.exists() and merges.exists():
            return _empty(models.BPE.from_file(str(vocab), str(merges)))
    except Exception as error:  # the library raises bare Exception
        message = f"{directory}: the tokenizer files cannot be read ({error}); copy or train them again"
        raise UserError(message) from error
    raise UserError(f"{directory}: no tokenizer here; it needs tokenizer.json, or vocab.json and merges.txt")


def _empty(model: models.Model) -> tokenizers.Tokenizer:
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
