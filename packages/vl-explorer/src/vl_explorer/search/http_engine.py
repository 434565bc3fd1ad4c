"""Base of all engines of the web: pages, pacing, retries, budgets, and answers checked before they are read."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, TypedDict

import httpx2
from vl_core.files import parse_json
from vl_core.tables import printable

from vl_explorer.search.engine import Limits, Reason, SearchError, SearchPage, SearchResult, checked_query
from vl_explorer.search.http.answers import Answer, BadAnswerError, Call, NoAnswerError, ask
from vl_explorer.search.http.budget import Budget
from vl_explorer.search.http.keys import Key
from vl_explorer.search.http.origin import checked_address, checked_contact, user_agent
from vl_explorer.search.http.pacing import Pacer, retry_after
from vl_explorer.search.http.pages import Place, ResultList
from vl_explorer.search.http.settings import RequestSettings

_log = logging.getLogger(__name__)

# A later page is refused with one of these where a service goes no deeper.
_NO_DEEPER = (400, 404, 416, 422)
# The query itself is at fault, such as one that is too long; another one may do better.
_OF_THE_QUERY = (400, 413, 414, 422)


@dataclass(frozen=True)
class Fault:
    """Why a request brought no results."""

    reason: Reason
    """As in `SearchError`; what is throttled or unreachable is tried again."""
    words: str
    """Description of the fault, or the words of the service."""
    wait: float = 0.0
    """Seconds that the service asks to wait."""


class HttpOptions(TypedDict, total=False):
    """Keyword arguments that every engine of the web takes; `HttpEngine` explains them."""

    contact: str
    client: httpx2.AsyncClient | None
    budget: Budget | None
    pacer: Pacer | None
    settings: RequestSettings | None


class HttpEngine(ABC):
    """An engine that asks a service over HTTP; each service is a subclass that writes requests and reads answers.

    Pages are asked for one after the other until there are enough results, and never one more. A key comes from the
    environment, and is in no message, representation, log or result. Redirects are not followed, and a client that the
    engine makes takes no proxies or credentials from the environment.

    Args:
        name: Name of the engine.
        limits: What the service documents.
        address: Of the service; ``https``, or ``http`` on this machine.
        page_size: Results that one request asks for.
        key: Of the service, where it wants one.
        contact: A mail address or web page of whoever runs this, sent in the header ``User-Agent``.
        client: Sends the requests, and stays open when the engine is closed; by default one of the engine's own.
        budget: What may be spent, by all engines that share it; by default counts without a limit.
        pacer: Spaces requests; by default by ``limits.requests_per_second``.
        settings: Tries, waits, and limits of answers.

    Raises:
        ValueError: If the address, the page size or the contact cannot be used.
    """

    def __init__(
        self,
        name: str,
        limits: Limits,
        address: str,
        *,
        page_size: int,
        key: Key | None = None,
        contact: str = "",
        client: httpx2.AsyncClient | None = None,
        budget: Budget | None = None,
        pacer: Pacer | None = None,
        settings: RequestSettings | None = None,
    ) -> None:
        largest = limits.results_per_page
        if isinstance(page_size, bool) or not isinstance(page_size, int) or not 1 <= page_size <= largest:
            raise ValueError(f"page_size of {name} must be a whole number in 1..{largest}, got {page_size!r}")
        self.name = name
        self.limits = replace(limits, results_per_page=page_size)
        self.address = checked_address(address, name)
        self.page_size = page_size
        self.contact = checked_contact(contact)
        self.budget = Budget() if budget is None else budget
        self.settings = RequestSettings() if settings is None else settings
        self._key = key
        self._pacer = Pacer(limits.requests_per_second) if pacer is None else pacer
        self._given = client
        self._own: httpx2.AsyncClient | None = None
        self._described = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r}, address={self.address!r}, page_size={self.page_size})"

    def describe(self) -> str:
        """Limits, cost and retirement in one line; also logged before the first request."""
        return self.limits.describe(self.name)

    async def search(self, query: str, count: int) -> SearchPage:
        """The first ``count`` results for a query; see `SearchEngine`.

        Raises:
            SearchError: If the service or the budget does not allow it; what was found before is its ``partial``.
            ValueError: If the query is empty or the count below 1.
        """
        query = checked_query(query, count)
        self._begin()
        search = _Search(self, query)
        try:
            while search.more and len(search.found) < count:
                await search.read_page()
        except SearchError as error:
            error.partial = search.so_far(count, exhausted=False)
            raise
        return search.so_far(count, exhausted=not search.more and len(search.found) <= count)

    async def close(self) -> None:
        """Close the engine's own client; a later search makes another."""
        client, self._own = self._own, None
        if client is not None:
            await client.aclose()
        if self._key is not None:
            self._key.release()

    # ---- What a service is: the methods of its subclass ----

    @abstractmethod
    def _call(self, query: str, place: Place) -> Call:
        """The request for the results of a query that begin at a place."""

    @abstractmethod
    def _read(self, content: dict[str, Any], place: Place) -> ResultList:
        """The results in an answer without fault; raises BadAnswerError where it is not as documented."""

    def _fault(self, status: int, content: dict[str, Any]) -> Fault | None:
        """Why the service answered without results; None if there is no fault."""
        return None if status == 200 else status_fault(status, content)

    # ---- One request ----

    def _begin(self) -> None:
        if self.limits.retires is not None and date.today() >= self.limits.retires:
            raise SearchError("refused", f"{self.name}: closed since {self.limits.retires}; use another engine")
        if not self._described:
            self._described = True
            _log.info("%s", self.describe())

    async def _ask(self, call: Call) -> Answer:
        await self._pacer.wait()
        client = self._given or self._own
        if client is None:
            client = self._own = httpx2.AsyncClient(trust_env=False)
        if self._key is not None:
            self._key.guard()
        return await ask(
            client,
            self.address,
            Call(call.params, {"User-Agent": user_agent(self.contact), **call.headers}),
            key=self._key,
            max_bytes=self.settings.max_bytes,
            max_seconds=self.settings.max_seconds,
        )

    async def _attempt(self, call: Call, place: Place) -> ResultList | Fault:
        """The results of one request, or why there are none."""
        try:
            answer = await self._ask(call)
            content = self._content(answer)
            fault = self._fault(answer.status, content)
            if fault is None:
                return self._checked(self._read(content, place))
        except NoAnswerError as error:
            return Fault("unreachable", str(error))
        except BadAnswerError as error:
            return Fault("malformed", str(error))
        if place.page and answer.status in _NO_DEEPER:
            return ResultList([], more=False)
        return Fault(fault.reason, fault.words, max(fault.wait, retry_after(answer.retry_after)))

    def _content(self, answer: Answer) -> dict[str, Any]:
        """The object in an answer; empty for an error that comes without one."""
        try:
            content = parse_json(answer.body, "the answer")
            content = content if self._key is None else self._key.redact_content(content)
        except ValueError as error:
            content, wrong = None, printable(str(error))[:300]
        except RecursionError:
            content, wrong = None, "the answer is nested too deeply to be read"
        else:
            wrong = f"the answer must be an object, got {type(content).__name__}"
        if isinstance(content, dict):
            return content
        if answer.status == 200:
            raise BadAnswerError(wrong)
        return {}

    def _checked(self, page: ResultList) -> ResultList:
        usable = [result for result in page.results if result.url]
        if page.results and not usable:
            raise BadAnswerError(f"none of {len(page.results)} results has an address of an image")
        return ResultList(usable, page.more and bool(usable), page.mark)


class _Search:
    """One search in progress: what was found and spent."""

    def __init__(self, engine: HttpEngine, query: str) -> None:
        self.found: dict[str, SearchResult] = {}
        self.more = True
        self._engine = engine
        self._query = query
        self._place = Place()
        self._requests = 0

    async def read_page(self) -> None:
        """Add the results of the next page."""
        page = await self._next_page()
        for result in page.results:
            self.found.setdefault(result.url, result)
        size, place = self._engine.page_size, self._place
        self._place = Place(place.start + size, place.page + 1, page.mark)
        self.more = page.more and self._place.start + size <= self._engine.limits.depth

    def so_far(self, count: int, *, exhausted: bool) -> SearchPage:
        """Results so far, and what they took."""
        cost = self._requests * self._engine.limits.cost_per_request
        return SearchPage(tuple(self.found.values())[:count], exhausted, self._requests, cost)

    async def _next_page(self) -> ResultList:
        """The next page, after as many tries as are allowed."""
        engine, tries = self._engine, 0
        call = engine._call(self._query, self._place)
        while True:
            engine.budget.spend(engine.name, engine.limits.cost_per_request)
            self._requests += 1
            tries += 1
            outcome = await engine._attempt(call, self._place)
            if isinstance(outcome, ResultList):
                return outcome
            engine._pacer.hold(self._wait(outcome, tries))

    def _wait(self, fault: Fault, tries: int) -> float:
        """Seconds before the next try; raises SearchError if there is none."""
        settings, words = self._engine.settings, f"{self._engine.name}: {fault.words}"
        if fault.reason not in ("throttled", "unreachable"):
            raise SearchError(fault.reason, words)
        if fault.wait > settings.longest_wait:
            raise SearchError(fault.reason, f"{words}; it asks to wait {fault.wait:,.0f} seconds, try again then")
        if tries == settings.tries:
            raise SearchError(fault.reason, f"{words}, {tries} times in a row; try again later")
        return max(fault.wait, min(settings.first_wait * 2.0 ** (tries - 1), settings.longest_wait))


def status_fault(status: int, content: dict[str, Any]) -> Fault:
    """Fault that an HTTP status other than 200 means, with what the service said."""
    error = content.get("error")
    parts = {**error, **content} if isinstance(error, dict) else content
    said = next((parts[key] for key in ("detail", "error", "message") if isinstance(parts.get(key), str)), "")
    words = f"status {status}" + (f", {printable(said)[:200]}" if said else "")
    if status == 429:
        return Fault("throttled", words)
    if status in (401, 403):
        return Fault("unauthorized", words)
    if status == 402:
        return Fault("spent", words)
    if status in _OF_THE_QUERY:
        return Fault("malformed", words)
    return Fault("unreachable" if status >= 500 else "refused", words)
