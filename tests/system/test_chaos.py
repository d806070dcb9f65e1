"""tests/chaos as a test: a moment in `all`, thirty seeds of two minutes in `long`."""

import pytest

import chaos


def test_a_moment_of_chaos(tmp_path):
    chaos.run(seed=100, minutes=0.3, users=100, place=tmp_path)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(1, 31))
def test_two_minutes_of_chaos(tmp_path, seed):
    chaos.run(seed=seed, minutes=2, users=150, place=tmp_path)
