"""After a reset, a round's result stays on the page of earlier rounds, and its bundle at its address."""

import re
from pathlib import Path

import pytest
from django.test import Client

from analytics import tasks
from analytics.audit import signing
from analytics.audit.bundles import open_file
from analytics.models import AuditBundle
from polls import drafts, lifecycle
from polls.models import Poll
from tests.analytics.audit_bundles import bundle_of, close, published, run_verifier
from tests.factories import count, fill, open_poll
from tests.polls.public_pages import check_policy, html, see

pytestmark = pytest.mark.django_db


def page_of(poll: Poll) -> str:
    return html(f"/p/{poll.code}/rounds/")


def download(poll: Poll, round_: int, client: Client | None = None) -> int:
    answer = see(f"/api/v1/polls/{poll.code}/audit/?round={round_}", client)
    if answer.streaming:
        assert b"".join(answer.streaming_content).startswith(b"PK")
    return int(answer.status_code)


def is_linked(poll: Poll) -> bool:
    pages = [html(f"/p/{poll.code}/{name}/") for name in ("results", "receipt")]
    (linked,) = {f'href="/p/{poll.code}/rounds/"' in page for page in pages}
    return linked


def test_a_published_round_stays_reachable() -> None:
    poll, _ = published(question="Tea or coffee?")
    tasks.make_bundles()
    assert download(poll, 1) == 200  # the permanent address
    assert not is_linked(poll)
    poll = lifecycle.reset_poll(poll.pk)
    drafts.change_poll(poll.pk, question="Something secret?")
    source = page_of(poll)
    check_policy(source)
    assert "Tea or coffee?" in source and "Something secret?" not in source
    assert "Round 1" in source and "12 ballots" in source and "50.0%" in source and "Tied" in source
    assert f"/api/v1/polls/{poll.code}/audit/?round=1" in source
    assert download(poll, 1) == 200
    assert is_linked(poll)


def test_a_round_reset_right_after_publishing_gets_its_bundle() -> None:
    poll, _ = published(question="Tea or coffee?")
    poll = lifecycle.reset_poll(poll.pk)
    drafts.change_poll(poll.pk, question="Something secret?")
    assert "is being made" in page_of(poll)
    tasks.make_bundles()
    assert download(poll, 1) == 200
    made = AuditBundle.objects.get(poll_id=poll.pk)
    tasks.make_bundles()
    assert AuditBundle.objects.get(poll_id=poll.pk) == made


@pytest.mark.parametrize("why", ["never published", "staff only then", "staff only now", "reset while open"])
def test_results_that_were_not_public_are_not_listed(boss: Client, why: str) -> None:
    poll = open_poll(results_visible="staff" if why == "staff only then" else "always")
    fill(poll, range(12))
    count()
    if why != "reset while open":
        close(poll)
    if why in ("staff only then", "staff only now"):
        lifecycle.publish_poll(poll.pk)
        tasks.make_bundles()
    poll = lifecycle.reset_poll(poll.pk)
    visible = "staff" if why == "staff only now" else "always"
    drafts.change_poll(poll.pk, results_visible=visible)
    assert "No earlier round" in page_of(poll)
    assert download(poll, 1) == 404
    assert not is_linked(poll)
    if why.startswith("staff"):
        assert download(poll, 1, boss) == 200


def test_a_bundle_of_reordered_choices_is_genuine(tmp_path: Path) -> None:
    """With a tie, server and verifier list the winners in the same order."""
    poll = open_poll(choices=3)
    lifecycle.reset_poll(poll.pk)
    drafts.change_poll(poll.pk, ["Choice 3", "Choice 2", "Choice 1"])
    lifecycle.open_poll(poll.pk)
    poll.refresh_from_db()
    fill(poll, range(12))
    lifecycle.publish_poll(close(poll).pk)
    file = tmp_path / "bundle.zip"
    with open_file(bundle_of(poll)) as made:
        file.write_bytes(made.read())
    answer = run_verifier(file, "--key", signing.fingerprint())
    assert answer.code == 0, answer.said
    assert re.findall(r"Choice \d", answer.said)[:3] == ["Choice 3", "Choice 2", "Choice 1"]


def test_unknown_codes_and_rounds_are_not_found(boss: Client) -> None:
    assert see("/p/NOPE42/rounds/").status_code == 404
    poll, _ = published(voters=0)
    assert download(poll, 2) == 404
    assert download(poll, 2, boss) == 404
