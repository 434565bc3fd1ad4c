"""Of all processes on a store one downloads a URL, and a failure is kept with its reason."""

from __future__ import annotations

import pytest
from explorer_store import offer, url_of
from vl_explorer.store.claims import Claim
from vl_explorer.store.rights.forget import forget
from vl_explorer.store.store import Store

URL = url_of(1)


@pytest.fixture
def pair(tmp_path):
    """Two stores in one folder, of different owners, with one clock that tests set."""
    now = [1000.0]
    with (
        Store(tmp_path, owner="first", clock=lambda: now[0]) as first,
        Store(tmp_path, owner="second", clock=lambda: now[0]) as second,
    ):
        yield first, second, now


def test_one_owner_holds_a_claim_until_the_lease_ends(pair):
    first, second, now = pair
    assert first.claim(URL, lease=10) is Claim.GRANTED
    assert second.claim(URL) is Claim.HELD
    now[0] += 9
    assert first.claim(URL, lease=10) is Claim.GRANTED  # again, to stay the owner
    now[0] += 9
    assert second.claim(URL) is Claim.HELD
    now[0] += 1
    assert second.claim(URL) is Claim.GRANTED
    assert first.claim(URL) is Claim.HELD


def test_a_claim_ends_with_an_answer(pair):
    first, second, _ = pair
    first.claim(URL)
    first.release(URL)
    assert second.claim(URL) is Claim.GRANTED
    first.release(URL)  # not its own
    assert first.claim(URL) is Claim.HELD
    second.add_failure(URL, "timeout")
    assert first.claim(URL) is Claim.FAILED
    first.claim(url_of(2))
    offer(first, 2)
    assert second.claim(url_of(2)) is Claim.STORED
    forget(first, url_of(2))
    assert second.claim(url_of(2)) is Claim.BLOCKED


def test_a_process_that_resumes_takes_its_claims_up(tmp_path):
    for _ in range(2):
        with Store(tmp_path, owner="run") as store:
            assert store.claim(URL) is Claim.GRANTED


def test_failures_may_be_tried_again_by_reason(store):
    for number, reason in enumerate(["dns", "timeout", "robots"]):
        store.add_failure(url_of(number), reason, "detail")
    assert [failure.reason for failure in store.failures(["dns", "robots"])] == ["dns", "robots"]
    assert store.allow_retry(["dns", "timeout"]) == 2
    assert store.allow_retry(["dns"]) == 0
    assert [store.claim(url_of(number)) for number in range(3)] == [Claim.GRANTED, Claim.GRANTED, Claim.FAILED]
    store.add_failure(url_of(0), "tls")
    assert store.claim(url_of(0)) is Claim.FAILED
    offer(store, 1)
    assert [(f.url, f.reason, f.tries, f.retry) for f in store.failures()] == [
        (url_of(0), "tls", 2, False),
        (url_of(2), "robots", 1, False),
    ]
