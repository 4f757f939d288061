"""Stand-ins for packages whose weights are too large for tests, with the signatures of the versions that are named."""

import contextlib
import pathlib
import types

import numpy as np

# t2v_metrics 3.0. Its score is the mean grey of the image; a prompt of "nan" or "fail" goes wrong.
T2V_METRICS = """
import os

import numpy as np
import PIL.Image

print("noise of an import")
HF_CACHE_DIR = "./hf_cache/"


class VQAScore:
    def __init__(self, model, device="cuda", cache_dir=HF_CACHE_DIR, **kwargs):
        assert model == "clip-flant5-xxl" and not kwargs
        if device == "cuda":
            raise RuntimeError("No CUDA GPUs are available")
        assert os.path.isdir(cache_dir)

    def forward(self, images=None, texts=None, num_frames=8, *, question_template, answer_template):
        assert question_template == 'Does this figure show "{}"? Please answer yes or no.' and answer_template == "Yes"
        if texts == "fail":
            raise MemoryError("too large")
        grey = np.nan if texts == "nan" else np.asarray(PIL.Image.open(images).convert("L")).mean() / 255
        return np.full((1, 1), grey, np.float32)

    def batch_forward(self, dataset, batch_size=16, num_frames=4, **kwargs):
        print("noise of a progress bar")
        return np.concatenate([self.forward(one["images"][0], one["texts"][0], **kwargs)[None] for one in dataset])
"""


def write_t2v_metrics(folder: pathlib.Path) -> pathlib.Path:
    """A folder for PYTHONPATH with t2v_metrics in it."""
    folder.mkdir()
    (folder / "t2v_metrics.py").write_text(T2V_METRICS, "utf-8")
    return folder


class Tensor:
    """What is used of a torch.Tensor."""

    def __init__(self, array):
        self.array = np.asarray(array, np.float32)

    def to(self, device):
        assert device in ("cpu", "cuda:1")
        return self

    def cpu(self):
        return self

    def numpy(self):
        return self.array


def torch():
    """The module torch."""
    module = types.ModuleType("torch")
    module.cat = lambda tensors, dim=0: Tensor(np.concatenate([tensor.array for tensor in tensors], dim))
    module.no_grad = contextlib.nullcontext
    return module


class PerceptualModel:
    """Embeds an image as its colours at a few places, as dreamsim 0.2.1 does: [N, 3, H, W] to [N, D], of length 1."""

    def __init__(self):
        self.batches = []

    def embed(self, img):
        self.batches.append(len(img.array))
        features = img.array.reshape(len(img.array), -1)
        features = features - features.mean(1, keepdims=True)
        return Tensor(features / np.linalg.norm(features, axis=1, keepdims=True))

    def __call__(self, img_a, img_b):
        return 1 - (self.embed(img_a).array * self.embed(img_b).array).sum(-1)


def dreamsim():
    """The module dreamsim, of version 0.2.1; ``module.calls`` and ``module.model`` are for tests."""
    module = types.ModuleType("dreamsim")
    module.calls, module.model = [], PerceptualModel()

    def preprocess(pil_img):
        return Tensor(np.asarray(pil_img.convert("RGB").resize((2, 2)), np.float32).transpose(2, 0, 1)[None] / 255)

    def load(
        pretrained=True,
        device="cuda",
        cache_dir="./models",
        normalize_embeds=True,
        dreamsim_type="ensemble",
        use_patch_model=False,
    ):
        if device == "cuda":
            raise RuntimeError("No CUDA GPUs are available")
        assert pathlib.Path(cache_dir).is_dir()
        module.calls.append((pretrained, device, normalize_embeds, dreamsim_type, use_patch_model))
        return module.model, preprocess

    module.dreamsim, module.preprocess = load, preprocess
    return module
