"""The API does what its schema says: thousands of requests, good and bad, made up from the schema itself."""

from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any

import httpx
import pytest
import schemathesis
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, settings
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from tests.system import Landslide

pytestmark = [pytest.mark.slow, pytest.mark.e2e, pytest.mark.timeout(300)]

NEW = {"question": "Tea?", "choices": ["Yes", "No"]}
#: A schema can't say that choices differ or that limits fit: some of what it allows is rightly refused.
UNSAYABLE = [positive_data_acceptance]

schema = schemathesis.openapi.from_dict(SchemaGenerator().get_schema(request=None, public=True))
#: A stream has no end to wait for; tests/realtime/test_sse.py reads it.
finite = schema.exclude(path_regex="/stream/$")
#: The same examples every time: what a run finds, the next one finds too.
bounded = settings(
    max_examples=7, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


@pytest.fixture(scope="module")
def system(shared_landslide: Callable[..., Landslide]) -> Landslide:
    """On PostgreSQL, which is stricter about what a text may hold."""
    return shared_landslide(mode="full")


@pytest.fixture(scope="module")
def client(system: Landslide) -> Iterator[httpx.Client]:
    key = {"Authorization": f"Api-Key {system.api_key}"}
    with httpx.Client(base_url=f"{system.url}/api/v1/", headers=key) as client:
        yield client


@pytest.fixture
def codes(client: httpx.Client) -> Iterator[str | None]:
    """In turn: a draft, an open and a closed poll of the test's own, and whatever was made up."""
    made = [client.post("polls/", json=NEW).raise_for_status().json()["code"] for _ in range(3)]
    for code in made[1:]:
        client.post(f"polls/{code}/open/").raise_for_status()
    client.post(f"polls/{made[2]}/close/").raise_for_status()
    return cycle([*made, None])


def aim(case: Any, codes: Iterator[str | None]) -> None:
    """Let the case meet a poll that exists, which no generator would guess."""
    made_wrong = case.meta.components.get(ParameterLocation.PATH)
    if "code" in (case.path_parameters or {}) and not (made_wrong and made_wrong.mode.is_negative):
        case.path_parameters["code"] = next(codes) or case.path_parameters["code"]


@finite.parametrize()
@bounded
def test_with_a_key(case: Any, system: Landslide, client: httpx.Client, codes: Iterator[str | None]) -> None:
    aim(case, codes)
    headers = {"Authorization": client.headers["Authorization"]}
    # Whatever is wrong with a ballot of a batch is said in its outcome, and the others go ahead.
    batch = [negative_data_rejection] if case.path.endswith("/batch/") else []
    case.call_and_validate(system.url, headers=headers, excluded_checks=UNSAYABLE + batch)


@finite.parametrize()
@bounded
def test_without_a_key(case: Any, system: Landslide, codes: Iterator[str | None]) -> None:
    aim(case, codes)
    case.call_and_validate(system.url, excluded_checks=UNSAYABLE)


def test_it_is_openapi_without_a_warning(system: Landslide) -> None:
    done = system.run_manage("spectacular", "--validate", "--fail-on-warn")
    assert "openapi: 3.1.0" in done.stdout
    assert "nullable:" not in done.stdout  # that was 3.0's


def test_the_schema_is_served_as_it_is_made(system: Landslide) -> None:
    served = httpx.get(f"{system.url}/api/schema/", headers={"Accept": "application/json"}).json()
    assert served["openapi"] == "3.1.0"
    assert served["paths"].keys() == schema.raw_schema["paths"].keys()
