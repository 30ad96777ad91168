"""The admin's form for what a method lets an organiser set."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from polls import lifecycle
from polls.models import Poll
from tests.factories import make_poll

pytestmark = pytest.mark.django_db

ADD = "/admin/polls/poll/add/"
FIELDS = {
    "question": "How was it?", "labels": ["Talk", "Food"], "method": "rating", "identity": "browser",
    "results_visible": "always", "over_limit": "refuse", "proof_of_work": "auto", "release_step": "1",
    "code": "RATEIT", "rating_style": "stars",
}  # fmt: skip


@pytest.fixture
def boss(client: Client) -> Client:
    client.force_login(get_user_model().objects.create_superuser("boss"))
    return client


def errors(answer: Any) -> dict[str, Any]:
    return dict(answer.context["adminform"].form.errors) if answer.status_code == 200 else {}


def test_a_rating_is_made_and_changed_in_the_admin(boss: Client) -> None:
    answer = boss.post(ADD, FIELDS | {"rating_high_label": "great"})
    assert errors(answer) == {}
    poll = Poll.objects.get()
    assert poll.config == {"style": "stars", "scale": 5, "low_label": "", "high_label": "great"}
    assert (poll.min_selections, poll.max_selections) == (1, 2)
    page = f"/admin/polls/poll/{poll.pk}/change/"
    form = boss.get(page).context["adminform"].form
    assert [form[name].value() for name in ("rating_style", "rating_scale", "rating_high_label")] == [
        "stars",
        5,
        "great",
    ]
    limits = {"min_selections": "1", "max_selections": "2"}
    answer = boss.post(page, FIELDS | limits | {"rating_style": "nps", "rating_scale": ""})
    assert errors(answer) == {}
    poll.refresh_from_db()
    assert poll.config == {"style": "nps", "scale": 10, "low_label": "", "high_label": ""}
    # Another method has no such config.
    answer = boss.post(page, FIELDS | limits | {"method": "multiple"})
    assert errors(answer) == {}
    poll.refresh_from_db()
    assert poll.config == {}


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"rating_scale": "11"}, "rating_scale"),
        ({"rating_style": "nps", "rating_scale": "5"}, "rating_scale"),
        ({"rating_style": "smileys"}, "rating_style"),
        ({"rating_low_label": "x" * 61}, "rating_low_label"),
        ({"rating_low_label": "\u202e"}, "rating_low_label"),
    ],
)
def test_an_error_is_shown_at_its_field(boss: Client, fields: dict[str, str], name: str) -> None:
    assert list(errors(boss.post(ADD, FIELDS | fields))) == [name]
    assert not Poll.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_an_open_rating_shows_its_config(boss: Client) -> None:
    poll = make_poll(method="rating", config={"style": "hearts", "high_label": "<great>"})
    lifecycle.open_poll(poll.pk)
    source = boss.get(f"/admin/polls/poll/{poll.pk}/change/").content.decode()
    assert "Hearts" in source and "&lt;great&gt;" in source
    assert "rating_style" not in source
