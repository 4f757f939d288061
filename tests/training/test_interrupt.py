"""Ctrl-C and SIGTERM while a run trains."""

import signal

import pytest

from irg_jax.training.interrupt import Interrupt


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
