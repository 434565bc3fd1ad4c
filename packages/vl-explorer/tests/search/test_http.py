"""Parts that engines of the web share, each alone: waits, fields, budgets."""

import asyncio
import itertools
import time
from datetime import UTC, datetime

import pytest
from explorer_engines import Time
from vl_explorer.search.http import fields
from vl_explorer.search.http.budget import Budget
from vl_explorer.search.http.pacing import Pacer, retry_after

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, 0.0),
        ("", 0.0),
        ("0", 0.0),
        (" 30 ", 30.0),
        ("-5", 0.0),
        ("1e9", 0.0),
        ("9" * 400, 999_999_999.0),
        ("Sat, 28 Nov 2026 12:01:30 GMT", 90.0),
        ("Sat, 28 Nov 2026 12:01:30 -0000", 90.0),
        ("Sat, 28 Nov 2026 11:00:00 GMT", 0.0),
        ("Sat, 99 Nov 2026 11:00:00 GMT", 0.0),
        ("soon", 0.0),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(value, seconds):
    assert retry_after(value, NOON) == seconds


def test_a_pacer_spaces_whatever_asks_and_holds_all_back():
    clock = Time()

    async def passed():
        pacer = clock.pacer(2.0)
        moments = []
        for _ in range(3):
            await pacer.wait()
            moments.append(clock.now)
        pacer.hold(10.0)
        await pacer.wait()
        return [*moments, clock.now]

    assert asyncio.run(passed()) == [0.0, 0.5, 1.0, 11.0]


def test_who_waits_already_is_held_back_too_and_stays_in_order():
    looks, passed = [], []

    def look():
        looks.append(time.monotonic())
        return looks[-1]

    pacer = Pacer(20.0, clock=look)

    async def ask(number):
        await pacer.wait()
        passed.append((number, looks[-1]))

    async def run():
        tasks = [asyncio.create_task(ask(number)) for number in range(5)]
        await asyncio.sleep(0.02)
        pacer.hold(0.2)
        tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    start = time.monotonic()
    for _ in range(2):  # also in an event loop of its own
        asyncio.run(run())
    numbers, moments = zip(*passed, strict=True)
    assert numbers == (0, 2, 3, 4) * 2
    assert moments[1] - start >= 0.2
    assert min(after - before for before, after in itertools.pairwise(moments)) >= 0.0499


@pytest.mark.parametrize(
    ("read", "value", "expected"),
    [
        (fields.address, "https://example.org/a b.jpg", ""),
        (fields.address, "//example.org/a.jpg", "https://example.org/a.jpg"),
        (fields.address, " http://example.org/a.jpg ", "http://example.org/a.jpg"),
        (fields.address, "javascript:alert(1)", ""),
        (fields.address, "file:///etc/passwd", ""),
        (fields.address, "https://", ""),
        (fields.address, "https://example.org/\r\nHost: x", ""),
        (fields.address, "https://example.org/" + "a" * 5_000, ""),
        (fields.address, ["https://example.org"], ""),
        (fields.text, "a\n\tb\x00 c", "a b c"),
        (fields.text, "\ud800x", "?x"),
        (fields.text, "é" * 2_000, "é" * 1_000),
        (fields.text, True, ""),
        (fields.text, 12, "12"),
        (fields.plain_text, "<b>A</b>&lt;B&gt;<script>x", "A <B> x"),
        (fields.plain_text, {"a": 1}, ""),
        (fields.number, "640", 640),
        (fields.number, 640.0, 640),
        (fields.number, -1, 0),
        (fields.number, float("nan"), 0),
        (fields.number, "6" * 50, 0),
        (fields.number, True, 0),
        (fields.number, None, 0),
    ],
)
def test_fields_are_read_or_empty(read, value, expected):
    assert read(value) == expected


def test_paths_lead_through_objects_and_lists():
    content = {"a": [{"b": 1}, {"b": None}], "0": "zero"}
    assert [fields.at(content, path) for path in ("a.0.b", "a.1.b", "a.2.b", "a.-1.b", "a.b", "0", "x.y")] == [
        *(1, None, None, None, None, "zero", None)
    ]


def test_a_budget_goes_on_from_what_was_spent_and_forgives_rounding():
    budget = Budget(max_cost=1.0, cost=0.7)
    for _ in range(3):
        budget.spend("any", 0.1)
    assert (budget.requests, budget.cost) == (3, pytest.approx(1.0))
    budget.spend("free", 0.0)
    with pytest.raises(Exception, match=r"\$1 of \$1 are spent"):
        budget.spend("any", 0.1)
    assert budget.requests == 4


def test_a_budget_records_a_request_before_it_counts_it():
    recorded = []
    budget = Budget(max_requests=2, record=recorded.append)
    for price in (0.1, 0.2):
        budget.spend("any", price)
    with pytest.raises(Exception, match="2 of 2"):
        budget.spend("any", 0.3)
    assert recorded == [0.1, 0.2]
