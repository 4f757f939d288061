"""Byte-level BPE in Qwen2's file format: published files give the published ids, trained files have the same format."""

import json
import random
import re
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


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt"])
@pytest.mark.parametrize("content", [b"", b"[1]", b"{\xff"])
def test_a_damaged_file_is_one_line_that_names_it(tmp_path, name, content):
    folder = folder_with(tmp_path / "t", drop=() if name == "tokenizer.json" else ("tokenizer.json",))
    (folder / name).write_bytes(content)
    with pytest.raises(UserError, match=re.escape(name)) as error:
        Tokenizer(folder)
    assert "\n" not in str(error.value)


def test_a_link_to_nothing_is_not_a_missing_file(tmp_path):
    folder = folder_with(tmp_path / "t")
    (folder / "added_tokens.json").symlink_to("/nowhere")
    with pytest.raises(UserError, match="added_tokens.json: No such file"):
        Tokenizer(folder)


# --- ids that the files declare


def folder_with(target, drop=(), config=None, **files):
    """The tiny model's tokenizer without some files, with other keys in its config (None removes one), and more."""
    target.mkdir()
    for name in tokenizer.FILES:
        if name not in drop and (BAGEL / name).exists():
            shutil.copyfile(BAGEL / name, target / name)
    if config is not None:
        path = target / "tokenizer_config.json"
        values = json.loads(path.read_text()) | config
        path.write_text(json.dumps({key: value for key, value in values.items() if value is not None}))
    for name, values in files.items():
        (target / f"{name}.json").write_text(json.dumps(values))
    return target


def decoder(ids):
    return {str(i): {"content": token, "special": True, "normalized": False} for token, i in ids.items()}


SLOW = ("tokenizer.json",)
QWEN = [
    *("endoftext", "im_start", "im_end", "object_ref_start", "object_ref_end", "box_start", "box_end"),
    *("quad_start", "quad_end", "vision_start", "vision_end"),
]
QWEN_IDS = {f"<|{name}|>": 500 + i for i, name in enumerate(QWEN)}
FIRST_THREE = json.loads((BAGEL / "tokenizer.json").read_text())
FIRST_THREE["added_tokens"] = FIRST_THREE["added_tokens"][:3]
REVERSED = json.loads((BAGEL / "tokenizer.json").read_text())
for one in REVERSED["added_tokens"]:
    one["id"] = 1004 - one["id"]
TWO_SPECIAL = {"additional_special_tokens": ["<extra>", "<|im_start|>"], "eos_token": {"content": "<|im_end|>"}}


@pytest.mark.parametrize(
    "files, ids",
    [
        # What Qwen2Tokenizer of transformers 4.49 and 5.24 gives, with the tokens that the published code adds.
        ({"drop": SLOW, "config": {"added_tokens_decoder": decoder(QWEN_IDS)}}, [500, 501, 502, 509, 510]),
        ({"drop": (*SLOW, "tokenizer_config.json"), "added_tokens": QWEN_IDS}, [500, 501, 502, 509, 510]),
        ({"tokenizer": FIRST_THREE, "config": {"added_tokens_decoder": decoder(QWEN_IDS)}}, [500, 501, 502, 509, 510]),
        ({"drop": SLOW, "config": {"added_tokens_decoder": decoder({t: 1010 - i for t, i in QWEN_IDS.items()})}},
         [510, 509, 508, 501, 500]),
        ({"tokenizer": REVERSED, "config": {"added_tokens_decoder": None}}, [504, 503, 502, 501, 500]),
        ({"drop": SLOW, "config": {"added_tokens_decoder": None}}, [501, 502, 500, 503, 504]),
        ({"drop": SLOW, "config": {"added_tokens_decoder": None, "additional_special_tokens": None},
          "special_tokens_map": TWO_SPECIAL}, [501, 503, 500, 504, 505]),
    ],
    ids=["config", "added_tokens", "the rest in config", "reversed", "tokenizer.json reversed", "named", "special map"],
)  # fmt: skip
def test_special_tokens_have_the_ids_of_transformers(tmp_path, files, ids):
    found = Tokenizer(folder_with(tmp_path / "t", **files))
    assert [found.pad, found.bos, found.eos, found.vision_start, found.vision_end] == ids
    assert found.size == max(found.encode("".join(["a", *tokenizer.SPECIAL_TOKENS]))) + 1
    assert found.encode("a<|vision_start|>")[-1] == found.vision_start, "found in texts"


@pytest.mark.parametrize(
    "files, problem",
    [
        ({"added_tokens": {"<|im_end|>": 503}},
         "tokenizer_config.json and added_tokens.json give two ids to '<|im_end|>', 502 and 503"),
        ({"added_tokens": {"<x>": 503}}, "added_tokens.json gives '<x>' the id 503, which tokenizer_config.json gives"),
        ({"drop": SLOW, "config": {"added_tokens_decoder": decoder({"<|endoftext|>": 500, "<|im_start|>": 502})}},
         "tokenizer_config.json gives '<|im_start|>' the id 502, but the next free id is 501"),
        ({"drop": SLOW, "config": {"added_tokens_decoder": decoder({"<|im_start|>": 7})}},
         "tokenizer_config.json gives '<|im_start|>' the id 7, which vocab.json gives '('"),
        ({"drop": SLOW, "config": {"added_tokens_decoder": decoder({"(": 500})}},
         "tokenizer_config.json gives '(' the id 500, vocab.json the id 7"),
        ({"config": {"added_tokens_decoder": decoder({"<|im_end|>": 500})}},
         "tokenizer_config.json and tokenizer.json give two ids to '<|im_end|>', 500 and 502"),
        ({"drop": SLOW, "vocab": {"a": 0, "b": 0}}, "vocab.json: the tokens 'a' and 'b' have both the id 0"),
        ({"vocab": {"(": 8}}, "vocab.json gives '(' the id 8, tokenizer.json the id 7"),
        ({"drop": SLOW, "config": {"added_tokens_decoder": {"x": {"content": "<x>"}}}},
         "tokenizer_config.json: invalid"),
        ({"added_tokens": {"<x>": "5.5"}}, "added_tokens.json: invalid literal"),
    ],
)  # fmt: skip
def test_a_declared_id_that_cannot_be_had_is_refused(tmp_path, files, problem):
    with pytest.raises(UserError, match=re.escape(problem)) as error:
        Tokenizer(folder_with(tmp_path / "t", **files))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("drop", [(), SLOW])
def test_files_with_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path, drop):
    folder = folder_with(tmp_path / "t", drop=drop)
    for path in folder.iterdir():
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    for text, ids in json.loads((tiny.BAGEL_TINY / "tokenizer_cases.json").read_text()):
        assert list(Tokenizer(folder).encode(text)) == ids, text


# --- copies


def test_only_the_tokenizers_files_are_copied_and_only_once(tmp_path):
    source, run = tmp_path / "BAGEL", tmp_path / "BAGEL" / "run" / "tokenizer"
    shutil.copytree(BAGEL, source)
    for path in source.iterdir():
        path.chmod(0o444)
    (source / "examples").mkdir()
    tokenizer.copy(source, run)
    assert {path.name for path in run.iterdir()} == {*tokenizer.FILES[:4]}
    assert all(path.stat().st_mode & 0o200 for path in run.iterdir())
    before = {path.name: path.stat().st_mtime_ns for path in run.iterdir()}
    tokenizer.copy(source, run)
    tokenizer.copy(run, run)
    (tmp_path / "link").symlink_to(run)
    tokenizer.copy(tmp_path / "link", run)
    assert {path.name: path.stat().st_mtime_ns for path in run.iterdir()} == before


def test_a_run_keeps_its_tokenizer(tmp_path, trained):
    tokenizer.copy(BAGEL, tmp_path / "run")
    with pytest.raises(UserError, match="run/tokenizer.json: differs from .*start another run"):
        tokenizer.copy(trained.directory, tmp_path / "run")
    assert (tmp_path / "run" / "vocab.json").read_bytes() == (BAGEL / "vocab.json").read_bytes()


def test_what_cannot_be_copied_is_named(tmp_path):
    source = folder_with(tmp_path / "t", drop=("merges.txt",))
    (source / "merges.txt").symlink_to("merges.txt")
    with pytest.raises(UserError, match="t/merges.txt: cannot be read .Too many levels"):
        tokenizer.copy(source, tmp_path / "run")
    with pytest.raises(UserError, match="nowhere: no tokenizer here"):
        tokenizer.copy(tmp_path / "nowhere", tmp_path / "run")


def test_an_empty_or_cut_tokenizer_is_not_complete(tmp_path, trained):
    assert tokenizer.is_complete(trained.directory)
    assert not tokenizer.is_complete(tmp_path)
    whole = (trained.directory / "tokenizer.json").read_text()
    for text in ("", whole[:100]):
        (tmp_path / "tokenizer.json").write_text(text)
        assert not tokenizer.is_complete(tmp_path)
