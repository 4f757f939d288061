"""Images to the file that ``detections`` reads, by a detector that runs here; it can be interrupted."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import PIL.Image

from irg_jax.benchmarks.benchmark import FoundImages, Item, Place, PromptSet
from irg_jax.benchmarks.files import cut_half_line
from irg_jax.benchmarks.geneval.decision import Object, keep_objects
from irg_jax.benchmarks.geneval.detections import check_places, header, line, read_detections
from irg_jax.benchmarks.geneval.detector import Classifier, Detection, Detector, protocol
from irg_jax.core.errors import UserError
from irg_jax.core.small_files import write_text
from irg_jax.data import images

_GREY = (0x99, 0x99, 0x99)  # behind the object, for CLIP


def detect(
    prompts: PromptSet,
    found: FoundImages,
    path: Path,
    detector: Detector,
    classifier: Classifier,
    *,
    name: str | None = None,
    batch_size: int = 4,
) -> int:
    """Detects the objects of all images that are not in the file yet, and adds them to it.

    Args:
      prompts: the items.
      found: their images.
      path: of the file; after an interruption it goes on where it was.
      detector: ``load_detector``.
      classifier: ``load_classifier``.
      name: of both, for the file; ``protocol()`` if not given.
      batch_size: images that are detected together.

    Returns:
      how many images were detected now.

    Raises:
      UserError: the file is of another detector, or has images of other prompts or damage other than a cut last line.
    """
    name = protocol() if name is None else name
    done = _resume(path, name, prompts)
    owed = [
        (item, sample)
        for item in prompts.items
        for sample in range(item.samples)
        if (item.key, sample) in found.images and (item.key, sample) not in done
    ]
    with path.open("a", encoding="utf-8") as file:
        for batch in _batches(owed, found, batch_size):
            for (item, sample, image), seen in zip(batch, detector([image for _, _, image in batch]), strict=True):
                file.write(line(item.key, sample, item.prompt, _with_colors(item, image, seen, classifier)))
            file.flush()
    return len(owed)


def _resume(path: Path, name: str, prompts: PromptSet) -> set[Place]:
    """The images that the file has; a last line without an end is cut off, and a missing file is begun."""
    if path.exists():
        cut_half_line(path)
        if path.stat().st_size:
            detections = read_detections(path)
            if detections.detector != name:
                raise UserError(f"{path}: was written by {detections.detector!r}; give another file for {name!r}")
            check_places(prompts, detections.prompts, path)
            return set(detections.images)
    write_text(path, header(name))
    return set()


def _batches(
    owed: Sequence[tuple[Item, int]], found: FoundImages, batch_size: int
) -> Iterator[list[tuple[Item, int, PIL.Image.Image]]]:
    """Neighbouring images of one size, at most ``batch_size`` together."""
    batch: list[tuple[Item, int, PIL.Image.Image]] = []
    for item, sample in owed:
        image = images.decode(found.images[item.key, sample](), f"{item.key} sample {sample}")
        if batch and (len(batch) == batch_size or batch[0][2].size != image.size):
            yield batch
            batch = []
        batch.append((item, sample, image))
    if batch:
        yield batch


def _with_colors(
    item: Item, image: PIL.Image.Image, seen: Sequence[Detection], classifier: Classifier
) -> dict[str, list[Object]]:
    """The objects by class, with colours where the decision will ask for them."""
    masks = {id(one.found): one.mask for one in seen}
    objects: dict[str, list[Object]] = {}
    for one in seen:
        objects.setdefault(one.name, []).append(one.found)
    asked: dict[str, int] = {}
    for clause in item.entry.get("include", ()):
        if "color" in clause:
            asked[clause["class"]] = max(asked.get(clause["class"], 0), clause["count"])
    for name, kept in keep_objects(objects, item.category).items():
        if best := kept[: asked.get(name, 0)]:
            crops = [_crop(image, masks[id(found)], found.box) for found in best]
            colors = {id(found): color for found, color in zip(best, classifier(crops, name), strict=True)}
            objects[name] = [found._replace(color=colors.get(id(found), "")) for found in objects[name]]
    return objects


def _crop(image: PIL.Image.Image, mask: np.ndarray, box: Sequence[float]) -> PIL.Image.Image:
    grey = PIL.Image.new("RGB", image.size, _GREY)
    left, top, right, bottom = (round(edge) for edge in box)
    return PIL.Image.composite(image, grey, PIL.Image.fromarray(mask)).crop((left, top, right, bottom))
