"""After a purge no ballot can be linked to its voter, while the count and its proof stay."""

import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from analytics import tasks
from analytics.audit import bundles, purge, recount
from analytics.audit.purge import PurgeRefused
from analytics.counting import closing, dead_letters
from analytics.models import AuditBundle, HeldBlock, Quarantine, Tally
from analytics.recovery import reconcile
from polls import lifecycle
from polls.casting.receipts import open_receipt, receipt_status
from polls.errors import ReceiptNotFound
from polls.models import Ballot, DeadLetter, Poll, Record, Round
from polls.votelog import get_log
from polls.voters import identity
from polls.voters.identity import browser_key, read_cookie
from tests.analytics.audit_bundles import close, content_of, published, receipt_of
from tests.factories import append, cast, check_books, count, fill, new_ballot, open_poll, tallied

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("each_log")]


def rows_of_all_tables() -> Iterator[bytes]:
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT * FROM "{table}"')
            for row in cursor.fetchall():
                for value in row:
                    yield bytes(value) if isinstance(value, memoryview | bytes) else str(value).encode()


def values_of_all_keys() -> Iterator[bytes]:
    log = get_log()
    if log.name != "redis":
        return
    store = log._redis  # type: ignore[attr-defined]
    for key in store.scan_iter("*"):
        yield key
        match store.type(key):
            case b"string":
                yield store.get(key)
            case b"hash":
                yield from (part for pair in store.hgetall(key).items() for part in pair)
            case b"stream":
                yield from (
                    part for _, fields in store.xrange(key) for pair in fields.items() for part in pair
                )
            case b"list":
                yield from store.lrange(key, 0, -1)
            case b"set":
                yield from store.smembers(key)
            case b"zset":
                yield from store.zrange(key, 0, -1)


def traces(secrets: dict[str, bytes]) -> set[str]:
    """Return the names of the secrets found anywhere in database or Redis, raw or in hexadecimal."""
    stored = b"\0\0".join([*rows_of_all_tables(), *values_of_all_keys()])
    text = stored.lower().replace(b"-", b"")
    return {name for name, raw in secrets.items() if raw in stored or raw.hex().encode() in text}


@pytest.mark.django_db(transaction=True)
def test_no_voter_key_remains_in_database_or_log() -> None:
    poll = open_poll(revote=True)
    cookies = [identity.new_cookie() for _ in range(12)]
    secrets: dict[str, bytes] = {"the poll's secret": bytes(poll.secret)[:16]}
    for number, cookie in enumerate(cookies):
        token = read_cookie(cookie)
        assert token
        secrets[f"key {number}"] = browser_key(poll.voter_secret(), token)
        secrets[f"cookie {number}"] = token
        status, answer = cast(poll, [1 + number % 3], cookie)
        assert status == 202, answer
        secrets[f"ballot {number}"] = open_receipt(answer["receipt"]).ballot_id
        # The log stores claims by a part of the key.
        secrets[f"end {number}"] = secrets[f"key {number}"][-8:]
    count()
    status, answer = cast(poll, [2], cookies[0], replaces=str(uuid.UUID(bytes=secrets["ballot 0"])))
    assert status == 202, answer
    append(new_ballot(poll, 77, 9))  # an invalid selection
    count()
    dead_letters.reject_letter(DeadLetter.objects.get().pk, by="anna")
    letter = DeadLetter.objects.get()
    secrets |= {"letter's voter": bytes(letter.voter_key), "letter's ballot": bytes(letter.ballot_id)}
    lifecycle.publish_poll(close(poll).pk)

    before = traces(secrets)
    assert {name for name in secrets if not name.startswith("cookie") and name != "ballot 0"} <= before
    purge.purge(poll.pk, "somebody")
    assert traces(secrets) == set()
    assert DeadLetter.objects.get().accepted_at is None


def test_the_count_does_not_change() -> None:
    poll, _ = published(20, method="multiple", max_selections=2)
    Ballot.objects.filter(poll_id=poll.pk, selection="2").update(quarantine_id=5)
    recount.fix(recount.get_round(poll), "somebody")
    before = sorted(Ballot.objects.filter(poll_id=poll.pk).values_list("selection", "quarantine_id"))
    tally, result = tallied(poll), Round.objects.get(poll=poll).result
    purge.purge(poll.pk, "somebody")
    assert sorted(Ballot.objects.filter(poll_id=poll.pk).values_list("selection", "quarantine_id")) == before
    assert recount.recount(recount.get_round(poll)).drifted == []
    assert (tallied(poll), Round.objects.get(poll=poll).result) == (tally, result)
    assert Round.objects.get(poll=poll).purged_at


def test_many_key_ranges_neither_lose_nor_duplicate_ballots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purge, "_BALLOTS_PER_STATEMENT", 10)
    poll, ballots = published(200)
    purge.purge(poll.pk, "somebody")
    check_books(poll)
    keys = {bytes(key) for key in Ballot.objects.filter(poll_id=poll.pk).values_list("voter_key", flat=True)}
    assert len(keys) == 200 and keys.isdisjoint(ballot.voter_key for ballot in ballots)


def test_rows_are_stored_in_random_order() -> None:
    """The selections were cast in two blocks. After a purge, the table's rows must be in random order."""
    poll = open_poll()
    fill(poll, range(60), 1)
    count()
    fill(poll, range(60, 120), 2)
    count()
    lifecycle.publish_poll(close(poll).pk)

    def as_it_lies() -> list[str]:
        with connection.cursor() as cursor:
            order = "ORDER BY ctid" if connection.vendor == "postgresql" else ""
            cursor.execute(f"SELECT selection FROM polls_ballot WHERE poll_id = %s {order}", [poll.pk])
            return [row[0] for row in cursor.fetchall()]

    assert as_it_lies() == ["1"] * 60 + ["2"] * 60
    purge.purge(poll.pk, "somebody")
    lies = as_it_lies()
    assert sorted(lies) == ["1"] * 60 + ["2"] * 60
    assert 10 < lies[:60].count("2") < 50  # a random order fails less than once in 10^12 runs


def test_receipts_are_not_found_but_still_in_the_bundle() -> None:
    poll, ballots = published()
    purge.purge(poll.pk, "somebody")
    for ballot in ballots:
        with pytest.raises(ReceiptNotFound) as refused:
            receipt_status(receipt_of(ballot))
        assert refused.value.extra == {"reason": "purged"}
    bundle = bundles.current(Poll.objects.get(pk=poll.pk))
    assert bundle
    listed = content_of(bundle)["receipts.txt"].decode().splitlines()
    assert listed == sorted(map(receipt_of, ballots))


def test_no_bundle_is_made_of_a_purged_round() -> None:
    poll, _ = published()
    purge.purge(poll.pk, "somebody")
    made = list(AuditBundle.objects.values_list("pk", flat=True))
    Poll.objects.filter(pk=poll.pk).update(epoch=poll.epoch + 1)
    tasks.upkeep()
    assert list(AuditBundle.objects.values_list("pk", flat=True)) == made
    poll = Poll.objects.get(pk=poll.pk)
    assert bundles.current(poll)
    with pytest.raises(bundles.BundleRefused):
        bundles.make_bundle(recount.get_round(poll))


def test_a_purge_is_recorded() -> None:
    poll, _ = published()
    purge.purge(poll.pk, "user anna")
    row = Record.objects.latest("pk")
    assert (row.actor, row.action, row.poll_code) == ("user anna", "rounds purged", poll.code)
    assert row.detail == {"rounds": [1], "bundles": [AuditBundle.objects.get().sha256]}


# --- rounds ---


@pytest.mark.django_db(transaction=True)
def test_earlier_rounds_are_purged_together_and_voters_are_new_afterwards() -> None:
    poll = open_poll()
    cookie = identity.new_cookie()
    assert cast(poll, [1], cookie)[0] == 202
    count()
    poll = lifecycle.reset_poll(poll.pk)
    lifecycle.open_poll(poll.pk)
    poll = Poll.objects.get(pk=poll.pk)
    assert cast(poll, [2], cookie)[0] == 202
    poll = lifecycle.reset_poll(close(poll).pk)
    assert [round_.number for round_ in purge.purge(poll.pk, "somebody")] == [1, 2]
    poll = lifecycle.open_poll(poll.pk)
    assert cast(poll, [3], cookie)[0] == 202
    assert cast(poll, [3], cookie)[0] == 409
    count()
    check_books(poll)


def test_one_round_can_be_purged() -> None:
    poll, ballots = published()
    poll = lifecycle.open_poll(lifecycle.reset_poll(poll.pk).pk)
    later = fill(poll, range(50, 55))
    poll = lifecycle.publish_poll(close(poll).pk)
    assert [round_.number for round_ in purge.purge(poll.pk, "somebody", 1)] == [1]
    assert receipt_status(receipt_of(later[0]))["status"] == "counted"
    with pytest.raises(ReceiptNotFound):
        receipt_status(receipt_of(ballots[0]))


def refused(poll: Poll, number: int | None = None) -> str:
    before = sorted(Ballot.objects.filter(poll_id=poll.pk).values_list("voter_key"))
    with pytest.raises(PurgeRefused) as raised:
        purge.purge(poll.pk, "somebody", number)
    assert sorted(Ballot.objects.filter(poll_id=poll.pk).values_list("voter_key")) == before
    return raised.value.detail


class TestRefusals:
    def test_a_round_under_way_is_not_purged(self) -> None:
        poll = open_poll()
        assert "under way" in refused(poll)
        lifecycle.close_poll(poll.pk)
        assert "under way" in refused(poll)
        count()
        closing.close_counted_polls()
        assert "under way" in refused(poll)

    def test_no_round_is_purged_while_another_is_open(self) -> None:
        poll, _ = published()
        poll = lifecycle.open_poll(lifecycle.reset_poll(poll.pk).pk)
        assert "under way" in refused(poll, 1)

    def test_an_unknown_round_is_refused(self) -> None:
        poll, _ = published()
        assert "no finished round" in refused(poll, 2)
        purge.purge(poll.pk, "somebody")
        assert "no finished round" in refused(poll)

    def test_a_round_with_waiting_dead_letters_is_not_purged(self) -> None:
        poll = open_poll()
        append(new_ballot(poll, 1, 9))
        poll = lifecycle.publish_poll(close(poll).pk)
        assert "dead letters" in refused(poll)

    def test_a_round_with_held_ballots_or_an_unfinished_release_is_not_purged(self) -> None:
        poll, _ = published()
        where = {"poll_id": poll.pk, "round": 1}
        held = HeldBlock.objects.create(**where, partition=0, first=1, at=1, ballots=1, columns=b"")
        assert "held back" in refused(poll)
        held.delete()
        Quarantine.objects.create(
            **where, rule="operator", reason="x", decided_by="x", released_at=timezone.now()
        )
        assert "quarantine" in refused(poll)

    def test_a_round_with_uncounted_ballots_is_not_purged(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(purge, "COUNTING_TIMEOUT_SECONDS", 0.0)
        poll = open_poll()
        fill(poll, range(3))
        poll = lifecycle.reset_poll(poll.pk)
        assert "not counted yet" in refused(poll)
        count()
        assert purge.purge(poll.pk, "somebody")

    def test_a_round_whose_tally_has_drifted_is_not_purged(self) -> None:
        poll, _ = published()
        Tally.objects.filter(poll_id=poll.pk, key="1").update(count=99)
        with pytest.raises(bundles.BundleRefused):
            purge.purge(poll.pk, "somebody")
        assert not Round.objects.get(poll=poll).purged_at


@pytest.mark.django_db(transaction=True)
def test_a_crash_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    poll, ballots = published()

    def crash(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(get_log(), "forget", crash)
        with pytest.raises(KeyboardInterrupt):
            purge.purge(poll.pk, "somebody")
    assert receipt_status(receipt_of(ballots[0]))["status"] == "counted"
    assert bytes(Poll.objects.get(pk=poll.pk).secret) == bytes(poll.secret)
    purge.purge(poll.pk, "somebody")
    check_books(poll)


def test_claims_of_purged_rounds_are_not_restored() -> None:
    poll, _ = published()
    other = open_poll()
    fill(other, range(3))
    count()
    purge.purge(poll.pk, "somebody")
    assert {row[0] for rows in reconcile._claims() for row in rows} == {other.pk}


# --- retention and command ---


class TestRetention:
    @pytest.fixture
    def days_later(self, settings: Any) -> None:
        settings.RETENTION_DAYS = 30

    def age(self, poll: Poll, days: int) -> None:
        then = timezone.now() - timedelta(days=days)
        Poll.objects.filter(pk=poll.pk, published_at__isnull=False).update(published_at=then)
        Round.objects.filter(poll=poll).update(closed_at=then)

    def purged(self, poll: Poll) -> bool:
        tasks.upkeep()
        return Round.objects.filter(poll=poll, purged_at__isnull=False).exists()

    def test_nothing_is_purged_by_default(self) -> None:
        poll, _ = published()
        self.age(poll, 4000)
        assert not self.purged(poll)

    @pytest.mark.usefixtures("days_later")
    def test_only_old_polls_are_purged(self) -> None:
        old, new = published()[0], published()[0]
        self.age(old, 31)
        self.age(new, 29)
        assert self.purged(old) and not self.purged(new)
        assert Record.objects.filter(action="rounds purged").get().actor == "schedule"

    @pytest.mark.usefixtures("days_later")
    def test_old_rounds_of_a_poll_that_was_reset_are_purged(self) -> None:
        poll, _ = published()
        poll = lifecycle.reset_poll(poll.pk)
        assert not self.purged(poll)
        self.age(poll, 31)
        assert self.purged(poll)

    @pytest.mark.usefixtures("days_later")
    def test_a_refused_purge_is_retried_later(self, caplog: Any) -> None:
        poll, _ = published()
        self.age(poll, 31)
        DeadLetter.objects.create(
            poll_id=poll.pk, round=1, partition=0, position=1, voter_key=b"v" * 16, ballot_id=b"b" * 16
        )
        assert not self.purged(poll) and not self.purged(poll)
        assert caplog.text.count("purge_refused") == 1


class TestCommand:
    def test_the_code_must_be_typed(self, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
        poll, _ = published()
        monkeypatch.setattr("builtins.input", lambda _: "yes")
        with pytest.raises(CommandError, match="Nothing was changed"):
            call_command("purge", poll.code)
        assert not Round.objects.get(poll=poll).purged_at
        monkeypatch.setattr("builtins.input", lambda _: f" {poll.code.lower()} ")
        call_command("purge", poll.code)
        assert Round.objects.get(poll=poll).purged_at
        assert Record.objects.latest("pk").actor.startswith("command ")
        assert "12 counted ballots" in capsys.readouterr().out

    def test_yes_skips_the_question(self) -> None:
        poll, _ = published()
        call_command("purge", poll.code, round=1, yes=True)
        assert Round.objects.get(poll=poll).purged_at

    def test_refusals_are_printed(self) -> None:
        with pytest.raises(CommandError, match="under way"):
            call_command("purge", open_poll().code, yes=True)
        with pytest.raises(CommandError, match="no poll"):
            call_command("purge", "NOPE42", yes=True)
