"""Byte-level BPE in Qwen2's file format: published files give the published ids, trained files have the same format."""

import json
import random
import shutil
import unicodedata

import pytest

from irg_jax.core.errors import UserError
from irg_jax.data import tokenizer
from irg_jax.data.tokenizer import Tokenizer
from tests import tiny

BAGEL = tiny.BAGEL_TINY / "bagel"
TEXTS = ["a photo of two red circles", "<think> The circles stand at the left. </think>", "it's 12 o'clock\n"] * 4


def without_tokenizer_json(source, target):
    target.mkdir()
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(source / name, target)
    return Tokenizer(target)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return tokenizer.train(TEXTS, 300, tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="module", params=["tokenizer.json", "vocab.json and merges.txt"])
def published(request, tmp_path_factory):
    if request.param == "tokenizer.json":
        return Tokenizer(BAGEL)
    return without_tokenizer_json(BAGEL, tmp_path_factory.mktemp("bagel") / "slow")


def test_published_files_give_the_published_ids(published):
    for text, ids in json.loads((tiny.BAGEL_TINY / "tokenizer_cases.json").read_text()):
        assert list(published.encode(text)) == ids, text


def test_special_tokens_keep_their_published_ids(published):
    specials = (published.pad, published.bos, published.eos, published.vision_start, published.vision_end)
    assert specials == (500, 501, 502, 503, 504)
    assert published.size == 505


def any_text(seed):
    """Random characters from all of Unicode except surrogates, the frequent ones more often."""
    rng = random.Random(seed)
    frequent = [(0, 0x7F), (0, 0xFF), (0x300, 0x36F), (0x4E00, 0x9FFF), (0x1F300, 0x1FAFF)]
    ranges = [*frequent, (0, 0xD7FF), (0xE000, 0x10FFFF)]
    return "".join(chr(rng.randint(*rng.choice(ranges))) for _ in range(rng.randint(0, 40)))


def test_any_text_decodes_to_its_unicode_normal_form(trained, published):
    for seed in range(300):
        text = any_text(seed)
        for read in (trained, published):
            assert read.decode(read.encode(text)) == unicodedata.normalize("NFC", text), ascii(text)


def test_a_trained_tokenizer_encodes_the_same_from_either_kind_of_file(trained, tmp_path):
    slow = without_tokenizer_json(trained.directory, tmp_path / "slow")
    assert slow.size == trained.size
    for text in TEXTS + [any_text(seed) for seed in range(100)]:
        assert slow.encode(text) == trained.encode(text), ascii(text)


def test_a_trained_tokenizer_has_the_format_of_qwen2(trained):
    assert trained.size <= 300
    config = json.loads((trained.directory / "tokenizer_config.json").read_text())
    assert config["tokenizer_class"] == "Qwen2Tokenizer"
    named = {int(i): token["content"] for i, token in config["added_tokens_decoder"].items()}
    specials = (trained.pad, trained.bos, trained.eos, trained.vision_start, trained.vision_end)
    assert named == dict(zip(specials, tokenizer.SPECIAL_TOKENS, strict=True))


def test_training_depends_only_on_texts_and_size(trained, tmp_path):
    again = tokenizer.train(iter(TEXTS), 300, tmp_path)
    for name in ("vocab.json", "merges.txt", "tokenizer.json"):
        assert (again.directory / name).read_bytes() == (trained.directory / name).read_bytes()


def test_decoding_skips_special_tokens(trained):
    assert trained.decode([trained.bos, *trained.encode("two circles"), trained.eos]) == "two circles"


def test_invalid_utf8_decodes_to_the_replacement_character(trained):
    first, *_ = trained.encode("é")[:1]
    assert trained.decode([first]) == "\ufffd"


def test_a_vocabulary_without_room_for_all_bytes_is_refused(tmp_path):
    with pytest.raises(UserError, match="vocab_size 260 is too small.*at least 261"):
        tokenizer.train(TEXTS, 260, tmp_path)
    assert tokenizer.train(TEXTS, 261, tmp_path).size == 261


def test_missing_and_damaged_files_are_named(tmp_path):
    with pytest.raises(UserError, match=f"{tmp_path}: no tokenizer here; it needs tokenizer.json"):
        Tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(UserError, match=f"{tmp_path}: the tokenizer files cannot be read"):
        Tokenizer(tmp_path)
