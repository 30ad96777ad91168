"""The results page and the presenter's screen as the server renders them."""

import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest
from django.test import Client

from polls import lifecycle
from realtime.pages.views import qr_svg
from tests.polls.api_client import make_poll
from tests.polls.public_pages import check_policy, html

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("page", ["results/", "present/"])
def test_question_and_choices_need_no_script(page: str) -> None:
    poll = make_poll("Tea", "Coffee", question="What will it be?", open=True)
    source = html(f"/p/{poll.code}/{page}")
    assert "What will it be?</h1>" in source
    assert source.count('class="bar-label"') == 3  # two choices and the template
    assert '<table class="figures">' in source
    assert "<noscript>" in source
    check_policy(source)


def test_results_link_to_the_ballot_while_voting_is_open() -> None:
    poll = make_poll(open=True)
    link = f'id="vote" href="/p/{poll.code}/" '
    assert f"{link}>" in html(f"/p/{poll.code}/results/")
    lifecycle.close_poll(poll.pk)
    assert f"{link}hidden>" in html(f"/p/{poll.code}/results/")


def test_the_presenter_shows_the_address_it_was_opened_at() -> None:
    poll = make_poll(open=True)
    answer = Client(HTTP_HOST="testserver:8000").get(f"/p/{poll.code}/present/")
    source = answer.content.decode()
    assert qr_svg(f"http://testserver:8000/p/{poll.code}/") in source
    assert ">testserver:8000</strong>" in source
    assert f"{poll.code}</span></p>" in source
    assert f'href="/admin/polls/poll/{poll.pk}/change/"' in source
    assert "Phones can't reach" not in source.replace("&#x27;", "'")


def test_the_presenter_shows_the_public_url_if_set(settings: Any) -> None:
    poll = make_poll(open=True)
    presenter = Client(HTTP_HOST="testserver:8000")
    assert 'data-host="testserver:8000"' in presenter.get(f"/p/{poll.code}/present/").content.decode()
    settings.PUBLIC_URL = "https://vote.example.org"
    source = presenter.get(f"/p/{poll.code}/present/").content.decode()
    assert qr_svg(f"https://vote.example.org/p/{poll.code}/") in source
    assert ">vote.example.org</strong>" in source
    assert 'data-host=""' in source
    assert "testserver" not in source


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]:8000"])
def test_the_presenter_is_warned_of_a_loopback_address(host: str, settings: object) -> None:
    settings.ALLOWED_HOSTS = ["*"]  # type: ignore[attr-defined]
    poll = make_poll(open=True)
    source = Client(HTTP_HOST=host).get(f"/p/{poll.code}/present/").content.decode()
    assert "Phones can't reach" in source.replace("&#x27;", "'")


def test_a_qr_code_is_dark_on_light_with_a_quiet_zone() -> None:
    picture = ElementTree.fromstring(qr_svg("http://192.168.1.5:8000/p/WXY346/"))
    ground, modules = picture
    assert (ground.get("fill"), modules.get("stroke")) == ("#fff", "#000")
    size = int(picture.get("viewBox", "").split()[-1])
    assert ground.get("d") == f"M0 0h{size}v{size}h-{size}z"
    assert modules.get("d", "").startswith("M4 4.5h7")
    assert not [node for node in picture.iter() if node.get("style")]
