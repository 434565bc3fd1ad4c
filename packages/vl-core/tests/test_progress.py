"""A bar on a terminal, and a line every ten seconds elsewhere; the clock is that of the test."""

import io
import sys

import pytest
from vl_core.progress import progress_bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test turns."""
    now = [100.0]
    for module in ("tqdm.std", "vl_core.progress"):
        monkeypatch.setattr(f"{module}.time", lambda: now[0])
    return now


def lines(monkeypatch, clock, seconds, steps):
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    with progress_bar(total=steps, desc="classify", unit="image", miniters=0) as bar:
        for step in range(steps):
            clock[0] += seconds
            bar.set_postfix_str(f"{step + 1} evaluations")
            bar.update()
    assert "\r" not in written.getvalue()
    return written.getvalue().splitlines()


def test_a_long_run_writes_a_line_every_ten_seconds_and_one_at_its_end(monkeypatch, clock):
    found = lines(monkeypatch, clock, 4, 8)
    assert len(found) == 3
    assert found[0].startswith("classify: 2 of 8 image (25 %), 00:12 elapsed")
    assert found[-1].startswith("classify: 8 of 8 image (100 %), 00:32 elapsed")


def test_a_short_run_writes_nothing(monkeypatch, clock):
    assert lines(monkeypatch, clock, 1, 9) == []


def test_a_terminal_gets_a_bar(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert list(progress_bar(range(3), desc="read", total=3)) == [0, 1, 2]
    assert "\r" in terminal.getvalue()


def test_a_disabled_bar_is_silent_everywhere(monkeypatch, capsys, clock):
    for _ in progress_bar(range(9), disable=True):
        clock[0] += 10
    assert capsys.readouterr() == ("", "")
