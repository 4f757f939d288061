"""Token arrays of packed rows, against the released code's packing and against a plain statement of the rules."""

import re

import jax
import numpy as np
import pytest

from irg_jax.data.conversation import Conversation, Image, Record, Text
from irg_jax.data.index import conversations
from irg_jax.data.packing import layout
from irg_jax.data.packing.layout import Budgets
from irg_jax.data.packing.segment import Kind
from tests import released, tiny


def dense_mask(row):
    """The positions in use, ascending, and the dense attention mask of them, [query, key]."""
    position, start, end = (np.concatenate([row["und"][n], row["gen"][n]]) for n in ("position", "start", "end"))
    order = np.argsort(position)[np.sort(position) >= 0]
    query = position[order]
    return query, (start[order] <= query[:, None]) & (query[:, None] < end[order])


# --- the seven samples of bagel_tiny, packed by the released code


@pytest.fixture(scope="module")
def wanted():
    return released.arrays("packed_batch")


@pytest.fixture(scope="module")
def packed():
    return jax.tree.map(lambda x: x[0], released.packed_batch())


def test_text_and_its_positions_equal_the_released_packing(packed, wanted):
    und = packed["und"]
    text = und["vit"] < 0
    np.testing.assert_array_equal(und["position"][text], wanted["packed_text_indexes"])
    np.testing.assert_array_equal(und["ids"][text], wanted["packed_text_ids"])


def test_rope_position_ids_equal_the_released_packing(packed, wanted):
    position, rope = (np.concatenate([packed["und"][n], packed["gen"][n]]) for n in ("position", "rope"))
    assert len(position) == wanted["sequence_length"]
    np.testing.assert_array_equal(rope[np.argsort(position)], wanted["packed_position_ids"])


def test_labels_equal_the_released_packing(packed, wanted):
    und = packed["und"]
    learned = und["weight"] > 0
    np.testing.assert_array_equal(und["position"][learned], wanted["ce_loss_indexes"])
    np.testing.assert_array_equal(und["label"][learned], wanted["packed_label_ids"])


def test_latents_equal_the_released_packing(packed, wanted):
    gen = packed["gen"]
    np.testing.assert_array_equal(gen["position"], wanted["packed_vae_token_indexes"])
    np.testing.assert_array_equal(gen["pos_id"], wanted["packed_latent_position_ids"])
    np.testing.assert_array_equal(gen["position"][gen["noised"]], wanted["mse_loss_indexes"])
    np.testing.assert_array_equal(gen["noised"], np.isfinite(wanted["packed_timesteps"]))
    shapes = wanted["patchified_vae_latent_shapes"]
    np.testing.assert_array_equal(np.bincount(gen["image"]), shapes.prod(1))
    np.testing.assert_array_equal(gen["patch_row"], np.concatenate([np.arange(h * w) // w for h, w in shapes]))
    np.testing.assert_array_equal(gen["patch_column"], np.concatenate([np.arange(h * w) % w for h, w in shapes]))
    for image, padded in zip(packed["images"], wanted["padded_images"], strict=True):
        height, width = padded.shape[1:]
        # Both are padded, to different sizes and with different values: 0 of 0..255 here, 0 of -1..1 there.
        inside = (padded != 0).all(0) | (image[:height, :width] != 0).any(-1)
        pixels = image[:height, :width].transpose(2, 0, 1) / 127.5 - 1
        np.testing.assert_allclose(pixels[:, inside], padded[:, inside], atol=1e-6)


def test_vit_patches_equal_the_released_packing(packed, wanted):
    und, vit = packed["und"], packed["vit"]
    np.testing.assert_array_equal(und["position"][und["vit"] >= 0], wanted["packed_vit_token_indexes"])
    np.testing.assert_array_equal(und["vit"][und["vit"] >= 0], np.arange(299))
    np.testing.assert_array_equal(vit["pos_id"], wanted["packed_vit_position_ids"])
    np.testing.assert_allclose(vit["patches"] / 127.5 - 1, wanted["packed_vit_tokens"], atol=1e-6)
    lengths = wanted["vit_token_seqlens"]
    ends = np.cumsum(lengths)
    np.testing.assert_array_equal(vit["start"], np.repeat(ends - lengths, lengths))
    np.testing.assert_array_equal(vit["end"], np.repeat(ends, lengths))


def test_spans_equal_the_released_dense_attention_mask(packed, wanted):
    query, mask = dense_mask(packed)
    np.testing.assert_array_equal(query, np.arange(wanted["sequence_length"]))
    np.testing.assert_array_equal(mask, wanted["attention_mask"])


# --- the rules of attention and positions, on random conversations


def described_tokens(samples, processor, dropped):
    """Every token of a row in order as (sample, block, kind); a text token is its own block."""
    tokens, block = [], 0
    for s, sample in enumerate(samples):
        for i, segment in enumerate(layout.segments(sample, processor)):
            if dropped[s] >> i & 1:
                continue
            for k in range(sum(segment.cost[:2])):
                block += segment.kind == Kind.TEXT or k == 0
                tokens.append((s, block, segment.kind))
    return tokens


def attends(tokens, q, k):
    """Whether query q attends to key k: same sample, and the same block or an earlier one that is not noised."""
    (q_sample, q_block, _), (k_sample, k_block, k_kind) = tokens[q], tokens[k]
    return q_sample == k_sample and (q_block == k_block or (k_block < q_block and k_kind != Kind.NOISED))


@pytest.mark.parametrize("seed", range(8))
def test_spans_follow_the_attention_rules(seed):
    rng = np.random.default_rng(seed)
    samples = [tiny.conversation(10 * seed + i, parts=4) for i in range(3)]
    dropped = []
    for sample in samples:
        conditions = [not segment.learned for segment in layout.segments(sample, tiny.processor())]
        dropped.append(sum(1 << i for i, condition in enumerate(conditions) if condition and rng.random() < 0.3))
    row = tiny.row(samples, Budgets(400, 200, 200, 12, (32, 32), 192), dropped)
    tokens = described_tokens(samples, tiny.processor(), dropped)
    query, mask = dense_mask(row)
    np.testing.assert_array_equal(query, np.arange(len(tokens)))
    wanted = [[attends(tokens, q, k) for k in range(len(tokens))] for q in range(len(tokens))]
    np.testing.assert_array_equal(mask, wanted)


def test_no_query_attends_to_padding():
    row = tiny.row([tiny.conversation(0)])
    for stream in ("und", "gen", "vit"):
        padding = row[stream]["position"] < 0
        assert padding.any()
        start, end = row[stream]["start"][padding], row[stream]["end"][padding]
        assert (start >= end).all()
    assert not row["und"]["weight"][row["und"]["position"] < 0].any()
    assert not row["gen"]["noised"][row["gen"]["position"] < 0].any()


def rope_of_text(conversation, dropped=0):
    """RoPE position ids of the last text's tokens."""
    und = tiny.row([conversation], dropped=[dropped])["und"]
    used = und["position"] >= 0
    return und["rope"][used][-len(tiny.processor().tokenizer.encode(conversation.parts[-1].content)) - 2 :]


def test_rope_advances_by_one_for_a_clean_or_vit_block_and_by_zero_for_a_noised_one():
    text = Text("a red bench", need_loss=True)
    for flags, advance in (
        (dict(need_vae=True), 1),
        (dict(need_vit=True), 1),
        (dict(need_vae=True, need_vit=True), 2),
        (dict(need_loss=True), 0),
        (dict(need_loss=True, need_vae=True, need_vit=True), 2),
    ):
        conversation = Conversation("k", (Image(tiny.png(), **flags), text))
        assert rope_of_text(conversation)[0] == advance, flags


def test_a_dropped_image_has_no_tokens_but_still_advances_rope():
    text = Text("a red bench", need_loss=True)
    conversation = Conversation("k", (Image(tiny.png(), need_vae=True, need_vit=True), text))
    whole, without_vae, text_only = (tiny.row([conversation], dropped=[d]) for d in (0b00, 0b01, 0b11))
    assert [(r["gen"]["position"] >= 0).sum() for r in (whole, without_vae)] == [16, 0]
    assert [(r["vit"]["position"] >= 0).sum() for r in (whole, without_vae, text_only)] == [16, 16, 0]
    assert rope_of_text(conversation, 0b00)[0] == rope_of_text(conversation, 0b11)[0] == 2
    assert text_only["und"]["position"].max() == len(tiny.processor().tokenizer.encode("a red bench")) + 1


def test_a_dropped_text_has_no_effect():
    learned = Text("a red bench", need_loss=True)
    alone = tiny.row([Conversation("k", (learned,))])
    dropped = tiny.row([Conversation("k", (Text("a photo of"), learned))], dropped=[0b01])
    for name, values in alone["und"].items():
        np.testing.assert_array_equal(values, dropped["und"][name], err_msg=name)


def test_a_row_has_the_shapes_that_the_step_is_compiled_for():
    spec = layout.batch_spec(1, tiny.BUDGETS)
    for row in (tiny.row([tiny.conversation(1)]), tiny.row([])):
        for stream in ("und", "gen", "vit"):
            assert spec[stream] == {n: ((1, *x.shape), x.dtype) for n, x in row[stream].items()}
        assert spec["images"] == ((1, *row["images"].shape), row["images"].dtype)


def test_the_cost_of_segments_is_the_number_of_tokens_packed():
    sample = tiny.conversation(5, parts=8)
    cost = np.sum([segment.cost for segment in layout.segments(sample, tiny.processor())], axis=0)
    row = tiny.row([sample], Budgets(400, 200, 200, 12, (32, 32), 192))
    used = [(row[stream]["position"] >= 0).sum() for stream in ("und", "gen", "vit")]
    assert [*used, row["gen"]["image"].max() + 1 if used[1] else 0] == list(cost)


# --- bad records


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((Text("t", need_loss=True), Image(b"x", need_vit=True)), "record train/7: an image cannot be decoded"),
        ((Text("t", need_loss=True), Image(tiny.png())), "record train/7: part 1 .* need_loss, need_vae or need_vit"),
        ((Text("t"), Image(tiny.png(), need_vit=True)), "record train/7: .*nothing can be learned"),
        ((), "record train/7: .*nothing can be learned"),
    ],
)
def test_a_bad_record_is_rejected_by_its_key_and_the_others_are_kept(parts, message):
    good = Conversation("train/8", (Text("t", need_loss=True),))
    records = [(7, Record((Conversation("train/7", parts),), 1)), (8, Record((good,), 2))]
    found = conversations.describe(records, tiny.processor().tokenizer)
    ((index, key, reason),) = found.rejected
    assert (index, key) == (7, "train/7") and re.match(message, reason)
    assert found.samples["record"].tolist() == [8] and len(found.parts) == 1
