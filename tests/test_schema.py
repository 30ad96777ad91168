"""The API does what its schema says: thousands of requests, good and bad, made up from the schema itself."""

import io
import os
import re
from collections.abc import Iterator
from itertools import cycle
from typing import Any

import httpx
import pytest
import schemathesis
from django.core.management import call_command
from drf_spectacular.generators import SchemaGenerator
from hypothesis import settings
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from tests import fetch
from tests.system import Landslide

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

NEW = {"question": "Tea?", "choices": ["Yes", "No"]}
JSON = {"Content-Type": "application/json"}
#: A schema can't say that choices differ or that limits fit: some of what it allows is rightly refused.
UNSAYABLE = [positive_data_acceptance]

schema = schemathesis.openapi.from_dict(SchemaGenerator().get_schema(request=None, public=True))
#: A stream has no end to wait for; tests/realtime/connections/test_event_stream.py reads it.
finite = schema.exclude(path_regex="/stream/$")
#: Its own tests ask for each method that an address doesn't know: two are enough to hold the schema to.
schema.config.phases.coverage.unexpected_methods = {"put", "query"}
#: The same examples every time: what a run finds, the next one finds too. Most requests are no examples, but
#: go through each bound that the schema sets. HUNT_EXAMPLES asks for more, and others.
EXAMPLES = int(os.environ.get("HUNT_EXAMPLES", "0"))
bounded = settings(max_examples=EXAMPLES or 2)


def needs_a_key(context: Any) -> bool:
    return {} not in context.operation.definition.raw["security"]


@pytest.fixture(scope="module")
def system(shared_full: Landslide) -> Landslide:
    """On PostgreSQL, which is stricter about what a text may hold."""
    return shared_full


@pytest.fixture(scope="module")
def client(system: Landslide) -> Iterator[httpx.Client]:
    key = {"Authorization": f"Api-Key {system.api_key}"}
    with fetch.Client(base_url=f"{system.url}/api/v1/", headers=key) as client:
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


@finite.exclude(needs_a_key).parametrize()
@bounded
def test_without_a_key(case: Any, system: Landslide, codes: Iterator[str | None]) -> None:
    aim(case, codes)
    case.call_and_validate(system.url, excluded_checks=UNSAYABLE)


def test_what_needs_a_key_is_not_there_without_one(system: Landslide, codes: Iterator[str | None]) -> None:
    """The key is looked at before content and state, so what is sent matters little."""
    code = next(codes)
    operations = [found.ok() for found in finite.include(needs_a_key).get_all_operations()]
    assert len(operations) > 10
    for operation in operations:
        names = re.findall(r"{(\w+)}", operation.path)
        case = operation.Case(path_parameters={name: code if name == "code" else "7" for name in names})
        answer = case.call_and_validate(system.url, headers=JSON, excluded_checks=UNSAYABLE)
        assert answer.status_code == 401, operation.label


def test_it_is_openapi_without_a_warning() -> None:
    made = io.StringIO()
    call_command("spectacular", "--validate", "--fail-on-warn", stdout=made)
    assert "openapi: 3.1.0" in made.getvalue()
    assert "nullable:" not in made.getvalue()  # that was 3.0's


def test_the_schema_is_served_as_it_is_made(system: Landslide) -> None:
    served = fetch.get(f"{system.url}/api/schema/", headers={"Accept": "application/json"}).json()
    assert served["openapi"] == "3.1.0"
    assert served["paths"].keys() == schema.raw_schema["paths"].keys()
