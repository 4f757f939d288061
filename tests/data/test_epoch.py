"""An epoch of a small data set, killed and gone on with; ``python -m tests.data.epoch`` does it with a large one."""

import importlib.util
import sys

import pytest

from tests.data import epoch


@pytest.mark.slow  # a dozen processes that start one after another
def test_an_epoch_that_is_killed_and_goes_on_with_other_hosts_has_every_record_once(tmp_path):
    beam = sys.executable if importlib.util.find_spec("apache_beam") else None
    found = epoch.run(tmp_path, records=60, stops=3, seed=0, beam=beam)
    assert found.samples >= 6 * 60
    assert [stop.hosts for stop in found.stops] == [1, 1, 3]  # and two in the end
