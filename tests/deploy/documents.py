"""Landslide's refusals, which nginx must repeat exactly."""

import httpx
import msgspec

from polls.errors import LandslideError, problem_details


def assert_problem(answer: httpx.Response, error: LandslideError) -> None:
    """Check that nginx answers as Landslide does for this error: status, headers and body, byte for byte.

    Only Retry-After may differ, within its range.
    """
    status, headers, document = problem_details(error)
    if headers.pop("Retry-After", None) is not None:
        assert error.retry_between
        first, last = error.retry_between
        assert first <= int(answer.headers["Retry-After"]) <= last
    assert (answer.status_code, answer.content) == (status, msgspec.json.encode(document))
    assert {name: answer.headers.get(name) for name in headers} == headers
