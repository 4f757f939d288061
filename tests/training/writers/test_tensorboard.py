"""Event files are what TensorBoard reads: framed records with checksums, complete whenever a run is killed."""

import io
import struct

import numpy as np
import pytest
from PIL import Image
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import masked_crc32c

from irg_jax.core import storage
from irg_jax.core.storage import as_path
from irg_jax.training.writers import tensorboard
from irg_jax.training.writers.tensorboard import TensorBoardWriter
from tests import bucket


def events(folder):
    """All events, of the files in the order of their names, as TensorBoard reads them."""
    found = []
    for path in sorted(folder.glob("events.out.tfevents.*")):
        data = path.read_bytes()
        while data:
            length = struct.unpack("<Q", data[:8])[0]
            record, data = data[12 : 12 + length], data[16 + length :]
            found.append(Event.FromString(record))
            assert masked_crc32c(record) > 0
    return found


def scalars(folder):
    values = [(event.step, value) for event in events(folder) for value in event.summary.value]
    return [(step, value.tag, round(value.simple_value, 6)) for step, value in values if value.HasField("simple_value")]


def test_scalars_images_and_texts_are_in_the_file_at_once(tmp_path):
    writer = TensorBoardWriter(as_path(tmp_path), resume_step=None)
    writer.write_text("config", "| key | value |")
    writer.write(1, {"loss": 0.5, "ce": 0.25})
    picture = np.random.default_rng(0).integers(0, 256, (8, 6, 3), np.uint8)
    writer.write_images(2, {"a red bench": picture})
    assert scalars(tmp_path) == [(1, "loss", 0.5), (1, "ce", 0.25)]
    first, *_, text, _, _, image = events(tmp_path)
    assert first.file_version == "brain.Event:2"
    assert text.summary.value[0].tensor.string_val == [b"| key | value |"]
    decoded = Image.open(io.BytesIO(image.summary.value[0].image.encoded_image_string))
    np.testing.assert_array_equal(np.asarray(decoded), picture)
    assert image.step == 2 and len(list(tmp_path.iterdir())) == 1


def test_a_resumed_run_hides_the_steps_that_it_repeats(tmp_path):
    for resume_step in (None, 5):
        writer = TensorBoardWriter(as_path(tmp_path), resume_step=resume_step)
        writer.write((resume_step or 0) + 1, {"loss": 1.0})
        writer.close()
    starts = [event.step for event in events(tmp_path) if event.session_log.status == SessionLog.START]
    assert starts == [0, 6]


def test_a_failed_write_leaves_no_broken_record_before_others(tmp_path, monkeypatch):
    writer = TensorBoardWriter(as_path(tmp_path), resume_step=None)
    writer.write(1, {"loss": 1.0})
    monkeypatch.setattr(storage, "sleep", lambda seconds: None)
    append, failed = tensorboard._append_bytes, []

    def failing(path, data):
        if not failed:
            failed.append(path)
            raise OSError(5, "Input/output error")
        append(path, data)

    monkeypatch.setattr(tensorboard, "_append_bytes", failing)
    writer.write(2, {"loss": 2.0})
    writer.write(3, {"loss": 3.0})
    assert scalars(tmp_path) == [(1, "loss", 1.0), (2, "loss", 2.0), (3, "loss", 3.0)]
    assert failed and len(list(tmp_path.iterdir())) == 2, "the next try begins a file of its own"


@pytest.mark.parametrize("seconds, files", [(10, 3), (1000, 1)])
def test_on_a_bucket_there_is_a_closed_file_for_every_part(tmp_path, monkeypatch, seconds, files):
    url, now = bucket.install(monkeypatch, tmp_path), [0.0]
    writer = TensorBoardWriter(as_path(f"{url}/run"), resume_step=None, part_seconds=10, clock=lambda: now[0])
    for step in (1, 2, 3):
        now[0] += seconds if files == 3 else 1
        writer.write(step, {"loss": float(step)})
    writer.close()
    folder = tmp_path / "bucket" / "run"
    assert scalars(folder) == [(1, "loss", 1.0), (2, "loss", 2.0), (3, "loss", 3.0)]
    assert len(list(folder.iterdir())) == files
