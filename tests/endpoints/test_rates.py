"""The waits that endpoints ask for, in every form that they are written in."""

import email.utils
import threading
import time

import pytest

from irg_jax.endpoints import rates


@pytest.mark.parametrize(
    ("text", "wait"),
    [
        ("20", 20), ("1.5", 1.5), ("120ms", 0.12), ("1s", 1), ("0.5s", 0.5), ("6m0s", 360), ("2m", 120),
        ("1h2m3s", 3723), (" 7 ", 7), ("", None), ("soon", None), ("-1", None), ("1d", None),
    ],
)  # fmt: skip
def test_seconds(text, wait):
    assert rates.seconds(text) == wait


def test_requested_wait():
    assert rates.requested_wait({}, refused=True) == 0
    assert rates.requested_wait({"retry-after": "3", "retry-after-ms": "9"}, refused=True) == 3
    assert rates.requested_wait({"retry-after-ms": "1500"}, refused=True) == 1.5
    date = email.utils.formatdate(time.time() + 30, usegmt=True)
    assert 28 < rates.requested_wait({"retry-after": date}, refused=True) <= 30
    assert rates.requested_wait({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, refused=True) == 0
    assert rates.requested_wait({"retry-after": "later"}, refused=True) == 0


def test_limits_that_are_used_up():
    headers = {
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "2s",
        "x-ratelimit-remaining-tokens": "900",
        "x-ratelimit-reset-tokens": "1m",
    }
    assert rates.requested_wait(headers, refused=False) == rates.requested_wait(headers, refused=True) == 2
    headers["x-ratelimit-remaining-requests"] = "4"
    assert rates.requested_wait(headers, refused=False) == 0
    assert rates.requested_wait(headers, refused=True) == 60


def test_back_off_doubles_up_to_a_minute():
    for failures, most in ((1, 1), (2, 2), (5, 16), (7, 60), (500, 60)):
        assert most / 2 <= rates.back_off(failures) <= most


def test_a_pause_ends_early_where_everything_stops():
    stop = threading.Event()
    pause = rates.Pause(stop)
    pause.extend(60)
    threading.Timer(0.1, stop.set).start()
    began = time.monotonic()
    pause.wait()
    assert time.monotonic() - began < 10
