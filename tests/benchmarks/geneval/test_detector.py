"""Mask2Former and CLIP with random weights and with logits that are known: what is done before and after them.

Skipped where torch and transformers, an extra, are missing.
"""

import types

import numpy as np
import PIL.Image
import pytest

from irg_jax.benchmarks.geneval import detector
from irg_jax.benchmarks.geneval.classes import CLASSES, COLORS

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


class Known:
    """Three queries: a cat in the left half, a bus with an empty mask, and one that is unsure."""

    device = "cpu"

    def __call__(self, pixel_values):
        self.pixels = pixel_values
        logits = torch.full((len(pixel_values), 3, 81), -20.0)
        logits[:, 0, CLASSES.index("cat")] = 20.0
        logits[:, 1, CLASSES.index("bus")] = 20.0
        logits[:, 2, CLASSES.index("dog")] = 0.0
        logits[:, 2, 80] = 2.0
        height, width = (edge // 4 for edge in pixel_values.shape[-2:])
        masks = torch.full((len(pixel_values), 3, height, width), -9.0)
        masks[:, 0, :, : width // 2] = 9.0
        masks[:, 2] = 9.0
        return types.SimpleNamespace(class_queries_logits=logits, masks_queries_logits=masks)


def picture(width, height):
    return PIL.Image.fromarray(np.full((height, width, 3), (124, 116, 104), np.uint8))


def test_images_are_resized_normalised_and_padded():
    model = Known()
    detector.mask2former(model, torch)([picture(512, 512)] * 2)
    assert model.pixels.shape == (2, 3, 800, 800)
    assert model.pixels.abs().max() < 0.02  # the mean colour
    detector.mask2former(model, torch)([picture(400, 100)])
    assert model.pixels.shape == (1, 3, 352, 1344)  # 1333 x 333, padded
    assert model.pixels[..., 333:, :].abs().max() == 0 and model.pixels[..., 1333:].abs().max() == 0


def test_boxes_scores_and_masks_are_those_of_the_image():
    ((found,),) = detector.mask2former(Known(), torch)([picture(64, 64)])
    assert found.name == "cat" and found.found.box == (0, 0, 32, 64)
    assert found.mask.shape == (64, 64) and found.mask[:, :32].all() and not found.mask[:, 32:].any()
    assert 0.9 < found.found.score < 1


def test_the_padding_is_no_part_of_the_image():
    ((found,),) = detector.mask2former(Known(), torch)([picture(400, 100)])
    left, top, right, bottom = found.found.box
    assert (left, top, bottom) == (0, 0, 100)
    assert right == pytest.approx(400 * (1344 / 2) / 1333, abs=1)


def test_a_model_with_random_weights():
    backbone = transformers.SwinConfig(
        image_size=64, embed_dim=8, depths=[1] * 4, num_heads=[1, 2, 2, 2], window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = transformers.Mask2FormerConfig(
        backbone_config=backbone, feature_size=32, mask_feature_size=32, hidden_dim=32, encoder_feedforward_dim=16,
        dim_feedforward=16, num_attention_heads=2, encoder_layers=1, decoder_layers=2, num_queries=10, num_labels=80,
    )  # fmt: skip
    model = transformers.Mask2FormerForUniversalSegmentation(config).eval()
    seen = detector.mask2former(model, torch)([picture(48, 32)] * 2)
    assert seen == [[], []]  # no class of a random model is likely
    with torch.no_grad():
        model.class_predictor.bias[CLASSES.index("toothbrush")] += 50
    seen = detector.mask2former(model, torch)([picture(48, 32)] * 2)
    assert len(seen) == 2 and all(found.name == "toothbrush" for found in seen[0])
    assert [one.found for one in seen[0]] == [one.found for one in seen[1]]


class Words:
    """A processor: the text is its words' lengths, the image is its pixels."""

    def __call__(self, text=None, images=None, **_):
        batch = transformers.BatchFeature()
        if text is not None:
            self.text = text
            batch["input_ids"] = torch.tensor([[sum(map(ord, one)) % 60] * 4 for one in text])
        else:
            pixels = [np.asarray(one.resize((32, 32)), np.float32) / 255 for one in images]
            batch["pixel_values"] = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)
        return batch


def test_the_color_is_the_nearest_of_ten():
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.CLIPConfig(
        text_config={**small, "vocab_size": 64, "max_position_embeddings": 16, "bos_token_id": 0, "eos_token_id": 1},
        vision_config={**small, "image_size": 32, "patch_size": 16},
        projection_dim=8,
    )
    torch.manual_seed(0)
    words = Words()
    classify = detector.clip_colors(transformers.CLIPModel(config).eval(), words)
    colors = classify([picture(20, 30), picture(8, 8)], "cat")
    assert len(colors) == 2 and set(colors) <= set(COLORS)
    assert words.text[:3] == ["a photo of a red cat", "a photo of a red-colored cat", "a photo of a red object"]
    assert len(words.text) == 30


def test_texts_are_averaged_and_the_nearest_wins():
    class Directions:
        """Color number i has direction i; a crop has the direction of its red value."""

        device = "cpu"

        def get_text_features(self, input_ids):
            return torch.eye(10).repeat_interleave(3, 0) * input_ids

        def get_image_features(self, pixel_values):
            return torch.eye(10)[pixel_values.long()]

    def processor(text=None, images=None, **_):
        values = {"input_ids": torch.full((30, 1), 7.0)} if text else {"pixel_values": torch.tensor(images)}
        return transformers.BatchFeature(values)

    assert detector.clip_colors(Directions(), processor)([3, 9, 0], "cat") == ["green", "white", "red"]
