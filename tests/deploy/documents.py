"""Landslide's refusals, as whoever stands before it must repeat them."""

import httpx
import msgspec

from polls.errors import LandslideError, problem_details


def assert_problem(answer: httpx.Response, error: LandslideError) -> None:
    """The answer is the one that Landslide gives for this error: status, headers and body to the byte.

    But for when to come back, which is another second for each.
    """
    status, headers, document = problem_details(error)
    if headers.pop("Retry-After", None) is not None:
        assert error.retry_between
        first, last = error.retry_between
        assert first <= int(answer.headers["Retry-After"]) <= last
    assert (answer.status_code, answer.content) == (status, msgspec.json.encode(document))
    assert {name: answer.headers.get(name) for name in headers} == headers
