"""Ctrl-C, SIGTERM and SIGHUP while a run trains."""

import os
import signal
import threading

import pytest

from irg_jax.training.interrupt import Interrupt, noticing_ctrl_c


@pytest.mark.usefixtures("python_handles_ctrl_c")
def test_the_first_signal_is_a_request_and_the_second_interrupts(capfd):
    before = signal.getsignal(signal.SIGINT)
    with Interrupt() as interrupt:
        assert not interrupt.requested
        signal.raise_signal(signal.SIGINT)
        assert interrupt.requested
        assert "a second signal stops at once" in capfd.readouterr().out
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == before


def test_sigterm_is_a_request_too():
    with Interrupt() as interrupt:
        signal.raise_signal(signal.SIGTERM)
        assert interrupt.requested


def test_a_terminal_that_is_gone_is_a_request_too():
    with Interrupt() as interrupt:
        signal.raise_signal(signal.SIGHUP)
        assert interrupt.requested


def test_under_nohup_the_run_goes_on_without_its_terminal():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupt() as interrupt:
            signal.raise_signal(signal.SIGHUP)
            assert not interrupt.requested
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("python_handles_ctrl_c")
def test_a_reader_of_the_output_that_is_gone_changes_nothing():
    read, write = os.pipe()
    stdout = os.dup(1)
    try:
        os.dup2(write, 1)
        os.close(read)  # every write fails from now on
        with Interrupt() as interrupt:
            signal.raise_signal(signal.SIGINT)
            assert interrupt.requested
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
    finally:
        os.dup2(stdout, 1)


def test_outside_the_main_thread_no_signals_are_taken():
    requested = []

    def work():
        with Interrupt() as interrupt:
            requested.append(interrupt.requested)

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert requested == [False]
    assert signal.getsignal(signal.SIGTERM) == before


class Callback:
    """Python drops what is raised while it is deleted."""

    def __del__(self):
        signal.raise_signal(signal.SIGINT)


@pytest.mark.usefixtures("python_handles_ctrl_c")
def test_ctrl_c_that_is_lost_in_a_callback_is_a_request_of_the_next_loop(capfd):
    with noticing_ctrl_c():
        callback = Callback()
        del callback  # its KeyboardInterrupt goes nowhere
        with Interrupt() as interrupt:
            assert interrupt.requested
    assert capfd.readouterr().err == ""
    with Interrupt() as interrupt:
        assert not interrupt.requested


@pytest.mark.usefixtures("python_handles_ctrl_c")
def test_ctrl_c_before_a_loop_stops_at_once():
    with pytest.raises(KeyboardInterrupt), noticing_ctrl_c():
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with Interrupt() as interrupt:
        assert not interrupt.requested
