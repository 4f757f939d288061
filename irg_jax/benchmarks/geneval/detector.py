"""Mask2Former and CLIP from ``transformers``, with what the official scorer does before and after them.

It does what djghosh13/geneval@af4902f does with mmdetection 2.x and open_clip. The weights of CLIP are the same, those
of Mask2Former are other ones: the official scorer uses those of mmdetection, here they are those of the paper's
authors. No parity has been published, so reports have to say it. An extra: ``pip install 'irg-jax[geneval]'``.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import PIL.Image

from irg_jax.benchmarks.geneval.classes import CLASSES, COLORS
from irg_jax.benchmarks.geneval.decision import THRESHOLD, Object
from irg_jax.core.errors import UserError

DETECTOR = "facebook/mask2former-swin-small-coco-instance"
CLASSIFIER = "openai/clip-vit-large-patch14"

_LONG_EDGE, _SHORT_EDGE, _DIVISOR = 1333, 800, 32
_MEAN, _STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
_MAX_PER_IMAGE = 100
_COLOR_PROMPTS = ("a photo of a {color} {name}", "a photo of a {color}-colored {name}", "a photo of a {color} object")


class Detection(NamedTuple):
    """An object and where exactly it is.

    Attributes:
      name: its class.
      found: box and score.
      mask: bool [height, width].
    """

    name: str
    found: Object
    mask: np.ndarray


Size = tuple[int, int]

# The objects in each of some images of one size, and the colour of each of some crops that show a class.
Detector = Callable[[Sequence[PIL.Image.Image]], list[list[Detection]]]
Classifier = Callable[[Sequence[PIL.Image.Image], str], list[str]]


def protocol(detector: str = DETECTOR, classifier: str = CLASSIFIER) -> str:
    """What a report says about the detector."""
    return (
        f"{detector} and {classifier} through transformers: another weight set than the official one "
        "(mask2former_swin-s-p4-w7-224_lsj_8x2_50e_coco of mmdetection 2.x), parity not measured"
    )


def load_detector(name: str = DETECTOR, device: str = "cpu") -> Detector:
    """Loads Mask2Former in FP32, from the Hugging Face hub or a folder. Raises UserError without the extra."""
    torch, transformers = _packages()
    model = transformers.Mask2FormerForUniversalSegmentation.from_pretrained(name).to(device).eval()
    return mask2former(model, torch)


def load_classifier(name: str = CLASSIFIER, device: str = "cpu") -> Classifier:
    """Loads CLIP in FP32, from the Hugging Face hub or a folder. Raises UserError without the extra."""
    _, transformers = _packages()
    model = transformers.CLIPModel.from_pretrained(name).to(device).eval()
    return clip_colors(model, transformers.CLIPProcessor.from_pretrained(name))


def mask2former(model: Any, torch: Any) -> Detector:
    """A ``Detector`` of a Mask2Former with 80 classes, with the steps of mmdetection 2.x.

    The image is resized to at most 1333 x 800 and padded to multiples of 32; of the pairs of a query and a class the
    100 with the highest probability are kept; the masks are resized to the image; the score is the probability times
    the mean of the sigmoid in the mask; the box is that of the mask, right and bottom edges excluded.
    """

    def run(batch: Sequence[PIL.Image.Image]) -> list[list[Detection]]:
        width, height = batch[0].size
        pixels, small = _input(torch, batch)
        with torch.no_grad():
            output = model(pixel_values=pixels.to(model.device))
        return [
            _detections(torch, logits, masks, pixels.shape[-2:], small, (height, width))
            for logits, masks in zip(output.class_queries_logits, output.masks_queries_logits, strict=True)
        ]

    return run


def clip_colors(model: Any, processor: Any) -> Classifier:
    """A ``Classifier`` of a CLIP model: the nearest of ten colours, each the mean of three normalised prompts."""
    import torch  # noqa: PLC0415  (an extra)

    texts: dict[str, Any] = {}

    def embed(name: str) -> Any:
        prompts = [text.format(color=color, name=name) for color in COLORS for text in _COLOR_PROMPTS]
        tokens = processor(text=prompts, return_tensors="pt", padding=True).to(model.device)
        features = _normalised(_features(model.get_text_features(**tokens)))
        return _normalised(features.reshape(len(COLORS), len(_COLOR_PROMPTS), -1).mean(1))

    def run(crops: Sequence[PIL.Image.Image], name: str) -> list[str]:
        with torch.no_grad():
            if name not in texts:
                texts[name] = embed(name)
            pixels = processor(images=list(crops), return_tensors="pt").to(model.device)
            features = _normalised(_features(model.get_image_features(**pixels)))
            return [COLORS[index] for index in (features @ texts[name].T).argmax(-1).tolist()]

    return run


def _input(torch: Any, batch: Sequence[PIL.Image.Image]) -> tuple[Any, Size]:
    """Images of one size as float [N, 3, height, width], padded; and the (height, width) of the image in it."""
    pixels = torch.from_numpy(np.stack([np.asarray(image, np.float32) for image in batch])).permute(0, 3, 1, 2)
    height, width = pixels.shape[-2:]
    scale = min(_LONG_EDGE / max(height, width), _SHORT_EDGE / min(height, width))
    small = int(height * scale + 0.5), int(width * scale + 0.5)
    pixels = torch.nn.functional.interpolate(pixels, small, mode="bilinear", align_corners=False)
    pixels = (pixels - torch.tensor(_MEAN).view(3, 1, 1)) / torch.tensor(_STD).view(3, 1, 1)
    return torch.nn.functional.pad(pixels, (0, -small[1] % _DIVISOR, 0, -small[0] % _DIVISOR)), small


def _detections(torch: Any, logits: Any, masks: Any, padded: Any, small: Size, size: Size) -> list[Detection]:
    """The objects in one image whose score may count.

    Args:
      torch: the module.
      logits: float [queries, classes + 1].
      masks: float [queries, h, w], of the padded image.
      padded: (height, width) of the padded image.
      small: of the image in it.
      size: of the image as it came.
    """

    def resize(values: Any, to: Any) -> Any:
        return torch.nn.functional.interpolate(values[None, None], tuple(to), mode="bilinear", align_corners=False)[
            0, 0
        ]

    probabilities = logits.softmax(-1)[:, :-1].flatten()
    values, places = probabilities.topk(min(_MAX_PER_IMAGE, len(probabilities)), sorted=False)
    # The mean of a sigmoid is below 1, so that no score is above its probability.
    likely = values > THRESHOLD
    found = []
    for value, place in zip(values[likely].tolist(), places[likely].tolist(), strict=True):
        query, label = divmod(place, len(CLASSES))
        mask = resize(resize(masks[query], padded)[: small[0], : small[1]], size)
        inside = mask > 0
        score = value * ((mask.sigmoid() * inside).sum() / (inside.sum() + 1e-6)).item()
        if score > THRESHOLD:
            rows, columns = inside.any(1).nonzero()[:, 0], inside.any(0).nonzero()[:, 0]
            box = (columns[0].item(), rows[0].item(), columns[-1].item() + 1, rows[-1].item() + 1)
            found.append(Detection(CLASSES[label], Object(box, score), inside.cpu().numpy()))
    return found


def _features(output: Any) -> Any:
    """The projected embedding; newer versions of transformers give it inside an output."""
    return output if hasattr(output, "norm") else output.pooler_output


def _normalised(features: Any) -> Any:
    return features / features.norm(dim=-1, keepdim=True)


def _packages() -> tuple[Any, Any]:
    try:
        import torch  # noqa: PLC0415  (an extra)
        import transformers  # noqa: PLC0415  (an extra)
    except ImportError as error:
        raise UserError(f"the local detector needs {error.name}; pip install 'irg-jax[geneval]'") from None
    return torch, transformers
