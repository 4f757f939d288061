"""The journal: what it finds again, what it adds up, and damage."""

import contextlib
import threading

import pytest

from irg_jax.core.errors import UserError
from irg_jax.endpoints.journal import Answer, Journal
from irg_jax.endpoints.ledger import BudgetError, Ledger, Stopped
from irg_jax.endpoints.pictures import PictureFolder
from tests import tiny


@contextlib.contextmanager
def opened(folder):
    with contextlib.closing(Journal(folder)) as journal:
        yield journal


def test_answers_are_found_again_with_all_that_is_known_of_them(tmp_path):
    text = Answer("<think> ünï 思 </think>", finish="stop", max_tokens=9, input_tokens=3, output_tokens=2, cost=0.5)
    picture = Answer(picture=PictureFolder(tmp_path).put(tiny.png()), cost=0.25)
    with opened(tmp_path) as journal:
        for number, answer in enumerate((text, picture)):
            journal.answered(journal.asked("thinking1", "m", 1.0), f"key{number}", answer)
        journal.sampled("key2", picture.picture)
    with opened(tmp_path) as journal:
        assert [journal.find(f"key{number}") for number in range(2)] == [text, picture]
        assert journal.find("key2").picture == picture.picture and journal.find("key3") is None
        assert journal.spent == 0.75
        spending = journal.spending["thinking1", "m"]
        assert (spending.requests, spending.answers, spending.input_tokens, spending.output_tokens) == (2, 2, 3, 2)


def test_a_cut_answer_is_found_unless_more_tokens_are_allowed(tmp_path):
    with opened(tmp_path) as journal:
        journal.answered(journal.asked("thinking1", "m", 1.0), "key", Answer("half", finish="length", max_tokens=10))
        assert journal.find("key", 10) is not None and journal.find("key", 5) is not None
        assert journal.find("key", 11) is None
        journal.answered(journal.asked("thinking1", "m", 1.0), "key", Answer("whole", max_tokens=11))
        assert journal.find("key", 11).text == "whole"


def test_what_was_under_way_when_it_died_counts_as_spent(tmp_path):
    with opened(tmp_path) as journal:
        journal.asked("thinking1", "m", 2.0)
        journal.failed(journal.asked("thinking1", "m", 3.0), 0.0, "HTTP 500")
        journal.failed(journal.asked("thinking1", "m", 3.0), 3.0, "timed out")
        assert journal.spent == 3.0
    with opened(tmp_path) as journal:
        assert journal.spent == 5.0
        number = journal.asked("thinking1", "m", 1.0)
        journal.answered(number, "key", Answer(cost=1.0))
    with opened(tmp_path) as journal:
        assert journal.spent == 6.0 and number == 4


@pytest.mark.parametrize("length", range(1, 100, 7))
def test_half_a_line_at_the_end_is_dropped(tmp_path, length):
    with opened(tmp_path) as journal:
        journal.answered(journal.asked("thinking1", "m", 1.0), "key", Answer("text", cost=1.0))
        whole = (tmp_path / "journal.jsonl").read_bytes()
        journal.answered(journal.asked("thinking1", "m", 1.0), "other", Answer("text", cost=1.0))
    longer = (tmp_path / "journal.jsonl").read_bytes()
    asked = longer.index(b"\n", len(whole)) + 1
    (tmp_path / "journal.jsonl").write_bytes(longer[: asked + length])
    with opened(tmp_path) as journal:
        assert journal.find("key").text == "text" and journal.find("other") is None and journal.spent == 2.0
        journal.answered(journal.asked("thinking1", "m", 1.0), "third", Answer("text"))
    with opened(tmp_path) as journal:
        assert journal.find("third") is not None


@pytest.mark.parametrize("line", [b"{}\n", b"not json\n", b'{"answered": 9, "key": "x"}\n', b'{"asked": 1}\n', b"\n"])
def test_a_damaged_line_is_named(tmp_path, line):
    (tmp_path / "journal.jsonl").write_bytes(line)
    with pytest.raises(UserError, match="the line at byte 0 is damaged .* remove that line"):
        Journal(tmp_path)


def test_many_threads_write_whole_lines(tmp_path):
    def work(first):
        for number in range(first, first + 20):
            journal.answered(journal.asked("thinking1", "m", 1.0), str(number), Answer("x" * number, cost=1.0))

    with opened(tmp_path) as journal:
        threads = [threading.Thread(target=work, args=(100 * i,)) for i in range(8)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
    with opened(tmp_path) as journal:
        assert journal.spent == 160
        assert all(len(journal.find(str(100 * i + j)).text) == 100 * i + j for i in range(8) for j in range(20))


def test_a_reservation_waits_for_what_is_under_way_before_it_gives_up():
    ledger = Ledger(1.0, 0.0, threading.Event())
    ledger.reserve(0.8)
    threading.Timer(0.2, ledger.settle, (0.8, 0.1)).start()
    ledger.reserve(0.8)
    ledger.settle(0.8, 0.8)
    assert ledger.spent == pytest.approx(0.9)
    with pytest.raises(BudgetError, match="0.9000 of 1.0000 is spent"):
        ledger.reserve(0.2)
    ledger.reserve(0.1)


def test_a_reservation_that_waits_ends_where_everything_stops():
    stop = threading.Event()
    ledger = Ledger(1.0, 0.0, stop)
    ledger.reserve(0.8)
    threading.Timer(0.2, stop.set).start()
    with pytest.raises(Stopped):
        ledger.reserve(0.8)
