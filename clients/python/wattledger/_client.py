"""The client: one method for each route."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from datetime import date, datetime
from typing import Any, Dict, Iterator, List, Mapping, Optional, Union

JSON = Dict[str, Any]
Time = Union[str, int, date, datetime]
Filters = Mapping[str, Union[str, List[str]]]


class Error(Exception):
    """What the server answers instead of what was asked for.

    status is the HTTP status, detail what is wrong in words, and errors what is
    wrong with each parameter, with the values allowed.
    """

    def __init__(self, status: int, detail: str, errors: Optional[List[JSON]] = None) -> None:
        super().__init__(f"{detail} (HTTP {status})")
        self.status = status
        self.detail = detail
        self.errors = errors or []


class Unavailable(Error):
    """The server could not be reached, or asked to try again later and went on to."""


class Client:
    """Asks one Wattledger.

    url     its address, such as http://localhost:9201
    token   of scope read, where the server wants one; admin for admin routes
    timeout seconds for one request
    retries how often a request is sent again that found the server busy or away

    Times are RFC 3339, dates, Unix seconds, datetime, "-7d" or the words today,
    yesterday, week, lastweek, month and lastmonth. Filters are names and values:
    {"team": "checkout", "label:app": ["web", "api"]}. Money and energy are those of
    the books; what is unknown is None.
    """

    def __init__(self, url: str = "http://localhost:9201", token: Optional[str] = None, *, timeout: float = 30.0, retries: int = 3) -> None:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"url {url!r}: begin it with http:// or https://")
        self._url = url.rstrip("/")
        self._token = token
        self._timeout = timeout
        self._retries = retries

    # Power

    def power_current(self, *, time_range: Optional[str] = None, filters: Optional[Filters] = None) -> Iterator[JSON]:
        """Yield workloads by falling power, all pages of them."""
        return self._pages("/power/current", "data", {"time_range": time_range}, filters)

    def power_containers(self, *, time_range: Optional[str] = None, sort: Optional[str] = None, filters: Optional[Filters] = None) -> Iterator[JSON]:
        """Yield containers by falling power, all pages of them."""
        return self._pages("/power/containers", "containers", {"time_range": time_range, "sort": sort}, filters)

    def power_nodes(self, *, filters: Optional[Filters] = None) -> List[JSON]:
        """Return nodes with their power and the identity of their newest minute."""
        nodes: List[JSON] = self.get("/power/nodes", {}, filters)["nodes"]
        return nodes

    # Cost

    def cost_current(self, *, aggregate: Optional[str] = None, filters: Optional[Filters] = None) -> JSON:
        """Return what an hour like the last five minutes costs."""
        return self.get("/cost/current", {"aggregate": aggregate}, filters)

    def cost_summary(self, *, tz: Optional[str] = None, filters: Optional[Filters] = None) -> JSON:
        """Return what a front page shows: an hour to come, today, and the month to date."""
        return self.get("/cost/summary", {"tz": tz}, filters)

    def cost_hourly(self, start: Optional[Time] = None, end: Optional[Time] = None, **more: Any) -> JSON:
        """Return cost by hour. See cost_monthly for what more there is to ask."""
        return self._cost("/cost/hourly", start, end, more)

    def cost_daily(self, start: Optional[Time] = None, end: Optional[Time] = None, **more: Any) -> JSON:
        """Return cost by day of the time zone tz. See cost_monthly for what more there is to ask."""
        return self._cost("/cost/daily", start, end, more)

    def cost_monthly(self, start: Optional[Time] = None, end: Optional[Time] = None, **more: Any) -> JSON:
        """Return cost by month.

        aggregate  dimensions joined by commas: team, namespace, label:app …
        filters    names and values
        tz         zone of words, dates and days
        share, share_by, share_weights   what is divided over the others, and how
        search, sort, order, offset, limit   which groups are listed
        compare    "previous" for the period before as well
        """
        return self._cost("/cost/monthly", start, end, more)

    def cost_workload(self, workload: str, start: Optional[Time] = None, end: Optional[Time] = None, *, step: Optional[str] = None, tz: Optional[str] = None) -> JSON:
        """Return everything about one workload: a name, namespace:name or a whole id."""
        path = "/cost/workload/" + urllib.parse.quote(workload, safe=":")
        return self.get(path, {"start": start, "end": end, "step": step, "tz": tz})

    def dimensions(self, *, limit: Optional[int] = None, filters: Optional[Filters] = None) -> List[JSON]:
        """Return what costs can be grouped by, and the values that there are."""
        found: List[JSON] = self.get("/dimensions", {"limit": limit}, filters)["dimensions"]
        return found

    # Types of workloads

    def workload_types(self, start: Optional[Time] = None, end: Optional[Time] = None, *, tz: Optional[str] = None, filters: Optional[Filters] = None) -> JSON:
        """Return how workloads of each type used power."""
        return self.get("/profile/workload-types", {"start": start, "end": end, "tz": tz}, filters)

    def classify(self, description: Mapping[str, Any]) -> JSON:
        """Return of what type a workload is that is described: image, labels, name …"""
        return self._request("POST", "/profile/classify", {}, json.dumps(dict(description)).encode())

    # As OpenCost has it

    def allocation(self, window: str, **more: Any) -> List[JSON]:
        """Return OpenCost's allocations: a list of sets, each of names to allocations."""
        data: List[JSON] = self.get("/allocation", {"window": window, **more})["data"]
        return data

    # The process

    def ready(self) -> JSON:
        """Return the checks of readiness; an Error of status 503 has those that fail."""
        return self.get("/-/ready", {})

    def senders(self) -> Any:
        """Return what each sender delivers, what is missing and how to mend it."""
        return self.get("/debug/senders", {})

    def get(self, path: str, parameters: Mapping[str, Any], filters: Optional[Filters] = None) -> JSON:
        """Ask any route; parameters that are None are left out."""
        query = {name: _text(value) for name, value in parameters.items() if value is not None}
        for name, value in (filters or {}).items():
            query[name] = value if isinstance(value, str) else ",".join(value)
        return self._request("GET", path, query, None)

    def _cost(self, path: str, start: Optional[Time], end: Optional[Time], more: Mapping[str, Any]) -> JSON:
        parameters = dict(more)
        filters = parameters.pop("filters", None)
        return self.get(path, {"start": start, "end": end, **parameters}, filters)

    def _pages(self, path: str, member: str, parameters: Mapping[str, Any], filters: Optional[Filters]) -> Iterator[JSON]:
        cursor: Optional[str] = None
        while True:
            page = self.get(path, {**parameters, "limit": 1000, "cursor": cursor}, filters)
            yield from page[member]
            cursor = page["next"]
            if cursor is None:
                return

    def _request(self, method: str, path: str, query: Mapping[str, str], body: Optional[bytes]) -> JSON:
        url = self._url + path
        if query:
            url += "?" + urllib.parse.urlencode(query)
        headers = {"Accept": "application/json", "User-Agent": "wattledger-python/0.1.0"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if self._token is not None:
            headers["Authorization"] = "Bearer " + self._token
        for attempt in range(self._retries + 1):
            wait = min(2.0**attempt / 4, 10.0)
            try:
                request = urllib.request.Request(url, data=body, headers=headers, method=method)
                with urllib.request.urlopen(request, timeout=self._timeout) as answer:
                    return _object(answer.read())
            except urllib.error.HTTPError as refused:
                failure = _error(refused)
                if refused.code not in (429, 503) or attempt == self._retries:
                    raise failure from None
                wait = _retry_after(refused.headers.get("Retry-After"), wait)
            except (urllib.error.URLError, OSError) as away:
                if attempt == self._retries:
                    reason = getattr(away, "reason", away)
                    raise Unavailable(0, f"{self._url} cannot be reached: {reason}") from away
            time.sleep(wait)
        raise AssertionError("the last attempt returns or raises")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        if value.tzinfo is None:
            return value.isoformat(timespec="seconds")
        return value.isoformat(timespec="milliseconds")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, (list, tuple)):
        return ",".join(str(part) for part in value)
    return str(value)


def _object(text: bytes) -> JSON:
    answer: JSON = json.loads(text)
    return answer


def _error(refused: urllib.error.HTTPError) -> Error:
    text = refused.read().decode("utf-8", "replace")
    kind = Unavailable if refused.code in (429, 503) else Error
    try:
        problem = json.loads(text)
        detail = problem.get("detail") or problem.get("message") or text
        return kind(refused.code, str(detail), problem.get("errors"))
    except (ValueError, AttributeError):
        return kind(refused.code, text.strip() or str(refused.reason))


def _retry_after(header: Optional[str], default: float) -> float:
    try:
        return min(float(header or default), 60.0)
    except ValueError:
        return default
