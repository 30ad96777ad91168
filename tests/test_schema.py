"""The API answers as its schema says: thousands of valid and invalid requests, generated from the schema."""

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
#: Checks of schemathesis that are left out. A schema can't say that choices must differ or that limits must
#: fit together, so the API rightly refuses some requests that the schema allows.
UNUSED_CHECKS = [positive_data_acceptance]

schema = schemathesis.openapi.from_dict(SchemaGenerator().get_schema(request=None, public=True))
#: A stream never ends. tests/realtime/connections/test_event_stream.py tests it.
finite = schema.exclude(path_regex="/stream/$")
#: schemathesis would request each address with every unknown method. Two methods are enough.
schema.config.phases.coverage.unexpected_methods = {"put", "query"}
#: Few examples, the same in every run. Most requests are not examples but test the schema's bounds one by
#: one. HUNT_EXAMPLES sets the number of random examples.
EXAMPLES = int(os.environ.get("HUNT_EXAMPLES", "0"))
bounded = settings(max_examples=EXAMPLES or 2)


def needs_a_key(context: Any) -> bool:
    return {} not in context.operation.definition.raw["security"]


@pytest.fixture(scope="module")
def system(shared_full: Landslide) -> Landslide:
    """A system on PostgreSQL, which accepts fewer texts than SQLite."""
    return shared_full


@pytest.fixture(scope="module")
def client(system: Landslide) -> Iterator[httpx.Client]:
    key = {"Authorization": f"Api-Key {system.api_key}"}
    with fetch.Client(base_url=f"{system.url}/api/v1/", headers=key) as client:
        yield client


@pytest.fixture
def codes(client: httpx.Client) -> Iterator[str | None]:
    """Return in turn the codes of a draft, an open and a closed poll, and None for the generated code."""
    made = [client.post("polls/", json=NEW).raise_for_status().json()["code"] for _ in range(3)]
    for code in made[1:]:
        client.post(f"polls/{code}/open/").raise_for_status()
    client.post(f"polls/{made[2]}/close/").raise_for_status()
    return cycle([*made, None])


def aim(case: Any, codes: Iterator[str | None]) -> None:
    """Give the case the code of an existing poll, which no generator would guess."""
    made_wrong = case.meta.components.get(ParameterLocation.PATH)
    if "code" in (case.path_parameters or {}) and not (made_wrong and made_wrong.mode.is_negative):
        case.path_parameters["code"] = next(codes) or case.path_parameters["code"]


@finite.parametrize()
@bounded
def test_requests_with_a_key_follow_the_schema(
    case: Any, system: Landslide, client: httpx.Client, codes: Iterator[str | None]
) -> None:
    aim(case, codes)
    headers = {"Authorization": client.headers["Authorization"]}
    # A batch with an invalid ballot isn't refused: the ballot's outcome has the error.
    batch = [negative_data_rejection] if case.path.endswith("/batch/") else []
    case.call_and_validate(system.url, headers=headers, excluded_checks=UNUSED_CHECKS + batch)


@finite.exclude(needs_a_key).parametrize()
@bounded
def test_requests_without_a_key_follow_the_schema(
    case: Any, system: Landslide, codes: Iterator[str | None]
) -> None:
    aim(case, codes)
    case.call_and_validate(system.url, excluded_checks=UNUSED_CHECKS)


def test_operations_that_need_a_key_answer_401_without_one(
    system: Landslide, codes: Iterator[str | None]
) -> None:
    """The key is checked before content and state, so the content of the requests doesn't matter."""
    code = next(codes)
    operations = [found.ok() for found in finite.include(needs_a_key).get_all_operations()]
    assert len(operations) > 10
    for operation in operations:
        names = re.findall(r"{(\w+)}", operation.path)
        case = operation.Case(path_parameters={name: code if name == "code" else "7" for name in names})
        answer = case.call_and_validate(system.url, headers=JSON, excluded_checks=UNUSED_CHECKS)
        assert answer.status_code == 401, operation.label


def test_the_schema_is_valid_openapi_without_warnings() -> None:
    made = io.StringIO()
    call_command("spectacular", "--validate", "--fail-on-warn", stdout=made)
    assert "openapi: 3.1.0" in made.getvalue()
    assert "nullable:" not in made.getvalue()  # a keyword of OpenAPI 3.0


def test_the_served_schema_equals_the_generated_one(system: Landslide) -> None:
    served = fetch.get(f"{system.url}/api/schema/", headers={"Accept": "application/json"}).json()
    assert served["openapi"] == "3.1.0"
    assert served["paths"].keys() == schema.raw_schema["paths"].keys()
