"""Differential test: the lanes answer byte for byte as Django does."""

import asyncio
import json
import logging
import os
import re
import uuid
from collections import Counter
from collections.abc import Iterator
from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from polls.casting import ballot_box
from polls.models import ApiClient
from polls.voters import identity, poll_rules
from tests.polls.api_client import POLLS, make_key
from tests.polls.differential import Headers, Sent, TwoWays
from tests.polls.poll_states import STATES, make_poll_in

pytestmark = pytest.mark.django_db(transaction=True)

EXAMPLES = int(os.environ.get("HUNT_EXAMPLES", "0"))
HOST = b"vote.example"
IDS = [str(uuid.UUID(int=number + 1)) for number in range(8)]
HSTS = {"SECURE_HSTS_SECONDS": 600}
#: The settings that decide about headers.
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "https": HSTS | {"SECURE_CROSS_ORIGIN_OPENER_POLICY": "same-origin"},
    "https, told by a proxy": HSTS | {"SECURE_PROXY_SSL_HEADER": ("HTTP_X_FORWARDED_PROTO", "https")},
    "another language": {"LANGUAGE_CODE": "de"},
}


class World:
    """Polls in every state, voters who return, and API keys with and without the scope."""

    def __init__(self) -> None:
        self.codes = {state: make_poll_in(state).code for state in STATES}
        self.voters = [identity.new_cookie() for _ in range(60)]
        scope = ApiClient.Scope.BALLOTS_WRITE
        self.keys = {"good": make_key(scope), "no scope": make_key(), "unknown": "aaaaaaaa.bbbbbbbb"}
        self.ways = TwoWays()
        self.runner = asyncio.Runner()
        self.seen: Counter[str] = Counter()

    def compare(self, sent: Sent, *, lane_first: bool) -> None:
        self.made_id = uuid.uuid4()
        before = len(self.ways.passed_on)
        answer = self.runner.run(self.ways.compare(sent, lane_first=lane_first))
        way = "passed on" if len(self.ways.passed_on) > before else "lane"
        code = re.search(rb'"code":"(\w+)"', answer.body)
        self.seen[f"{way} {answer.status} {code[1].decode() if code else ''}".strip()] += 1


@pytest.fixture
def world(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    settings.ALLOWED_HOSTS = [HOST.decode(), ".halls.example"]
    settings.TRUSTED_ORIGINS = ["https://trusted.example"]
    poll_rules.clear_cache()
    # A ballot without a ballot_id gets a new one. Both ways must get the same.
    world = World()
    monkeypatch.setattr(ballot_box, "uuid", SimpleNamespace(UUID=uuid.UUID, uuid4=lambda: world.made_id))
    logging.disable(logging.CRITICAL)  # Django logs refused requests
    yield world
    logging.disable(logging.NOTSET)
    world.runner.close()


# --- requests ---


def cast_headers(voter: str, body: bytes) -> Headers:
    """The headers that our page sends."""
    return [
        (b"host", HOST),
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"cookie", b"voter=" + voter.encode()),
        (b"origin", b"http://" + HOST),
    ]


mostly = st.integers(0, 99)


def usually(usual: Any, *odd: Any, percent: int = 88) -> st.SearchStrategy[Any]:
    """Draw `usual` most of the time, else one of the others. They may be values or strategies."""
    options = [each if isinstance(each, st.SearchStrategy) else st.just(each) for each in (usual, *odd)]
    return mostly.flatmap(lambda roll: options[0] if roll < percent else st.one_of(options[1:]))


ballot_ids = usually(
    st.sampled_from(IDS), st.uuids().map(str), "1", 7, None, IDS[0].upper(), IDS[1].replace("-", "")
)
selections = usually(
    st.lists(st.integers(1, 3), min_size=1, max_size=1),
    st.lists(st.integers(1, 5), min_size=2, max_size=3, unique=True),
    *([], [1, 1], [0], [99], [-1], [2**70], [1.5], ["1"], [True], [None], "1", 1, None, {"1": 1}, [1] * 100),
    percent=65,
)
documents = st.fixed_dictionaries(
    {"selections": selections},
    optional={
        "ballot_id": ballot_ids,
        "round": usually(st.integers(1, 3), 0, -1, 65_535, 65_536, 2**70, 1.0, "1", None, True),
        "replaces": usually(st.sampled_from(IDS), "x", None, 5),
    },
)
odd_documents = st.one_of(
    st.builds(
        lambda d, v: d | {"voter": v}, documents, st.sampled_from(["me", "", "x" * 201, 5, None, "\ud800"])
    ),
    st.builds(lambda d, n: d | {n: 1}, documents, st.sampled_from(["weight", "Selections", "", "\u0000"])),
    st.sampled_from([{}, [], [1], None, 1, "x", True]),
)
encoded = usually(documents, odd_documents, percent=85).map(lambda d: json.dumps(d).encode())
RAW_BODIES = [
    b"",
    b" ",
    b"{",
    b"selections=1",
    b'{"selections": [1]',
    b'{"selections": [1]}}',
    b'{"selections": [1]} \r\n',
    b'\xef\xbb\xbf{"selections": [1]}',
    b'{"selections": [NaN]}',
    b'{"selections": [Infinity]}',
    b'{"selections": [1e2]}',
    b'{"selections": [1], "selections": [2]}',
    b'{"selections": [1], "round": null, "replaces": null}',
    b'{"selections": [1], "round": null, "round": 1}',
    b'{"selections": [1], "ballot_id": "\xff"}',
    b'{"selections": [1], "voter": "\xff"}',
    b'{"selections": [' + b"9" * 5000 + b"]}",
    b'{"selections": ' + b"[" * 5000,
    b'{"selections": ' + b"[" * 2000 + b"]" * 2000 + b"}",
    b'{"x": ' + b'{"x": ' * 2000,
    b'{"selections": [1], "ballot_id": "' + b"x" * 16_384 + b'"}',
    b"x" * (16_384 + 1),
    b" " * (16_384 - 19) + b'{"selections": [1]}',
    b" " * 16_384 + b'{"selections": [1]}',
    b"\x00",
    '{"selections": [1]}'.encode("utf-16"),
]
raw_bodies = st.one_of(st.sampled_from(RAW_BODIES), st.binary(max_size=60))
bodies = usually(encoded, raw_bodies, percent=90)

CONTENT_TYPES = [
    [b"application/json"],
    [b"application/json; charset=utf-8"],
    [b"Application/JSON"],
    [b"application/json;"],
    [b"application/json, text/plain"],
    [b"text/plain"],
    [b"application/x-www-form-urlencoded"],
    [b"multipart/form-data; boundary=x"],
    [b"\xe4"],
    [b""],
    [],
    [b"application/json", b"application/json"],
    [b"application/json", b"text/plain"],
]
content_types = usually(*CONTENT_TYPES)
HOSTS = [
    [HOST],
    [b"vote.example:8443"],
    [b"VOTE.example"],
    [b"vote.example."],
    [b"north.halls.example"],
    [b"evil.example"],
    [b"vote.example:port"],
    [b"vote.example@evil.example"],
    [b"[::1]"],
    [b"\xff"],
    [b""],
    [],
    [HOST, HOST],
    [HOST, b"evil.example"],
]
hosts = usually(*HOSTS)
ORIGINS = [
    [],
    [b"http://vote.example"],
    [b"https://vote.example"],
    [b"https://VOTE.example"],
    [b"https://vote.example:8443"],
    [b"https://trusted.example"],
    [b"http://trusted.example"],
    [b"https://evil.example"],
    [b"https://vote.example.evil.example"],
    [b"https://vote.example/"],
    [b"ftp://vote.example"],
    [b"null"],
    [b""],
    [b"garbage"],
    [b"http://["],
    [b"https://\xe4"],
    [b"http://vote.example", b"http://vote.example"],
    [b"null", b"http://vote.example"],
]
origins = usually(*ORIGINS, percent=80)


COOKIES = [
    "voter={own}",
    f"sessionid={'s' * 32}; voter={{own}}; csrftoken={'c' * 32}",
    "a=1;voter={own};b=2",
    "  voter={own}  ;",
    "voter ={own}",
    "voter= {own}",
    'voter="{own}"',
    "Voter={own}",
    "voter={forged}",
    "voter={own}x",
    "voter=",
    "voter",
    "",
    "xvoter={other}; voter={own}",
    "voter2={other}; voter={own}",
    "a=voter={other}; voter={own}",
    "voter={own}; voter={other}",
    "voter={own}; voter ={other}",
    "voter={own}; voter={forged}",
    "voter={own}; voter",
    "voter={own}; =voter={other}",
    "voter={own}\xa0",
    "\x1cvoter={other}; voter={own}",
    "voter={own}; \x85voter={other}",
    'x="; voter={other}"; voter={own}',
    "django_language=de; voter={own}",
    "voter={own}, voter={other}",
]


def forged(cookie: str) -> str:
    return cookie[:-1] + ("A" if cookie[-1] != "A" else "Q")


def cookie(form: str, own: str, other: str) -> bytes:
    return form.format(own=own, other=other, forged=forged(own)).encode("latin-1")


@st.composite
def cookie_headers(draw: st.DrawFn, known: list[str]) -> list[bytes]:
    own, other = draw(st.sampled_from(known)), draw(st.sampled_from(known))
    form = draw(usually(*COOKIES, percent=65))
    value = cookie(form, own, other)
    return draw(usually([value], [], [value, b"a=1"], [b"a=1", value], [value, value], percent=94))


def lengths(size: int) -> list[list[bytes]]:
    right = b"%d" % size
    wrong = [b"%d" % (size + 1), b"%d" % max(0, size - 1), b"0", b"16385", b"99999999", b"-1", b"x", b""]
    return [[right], [], [right, right], [b"0" + right], *([each] for each in wrong)]


@st.composite
def split(draw: st.DrawFn, body: bytes) -> tuple[bytes, ...]:
    cuts = sorted(draw(st.lists(st.integers(0, len(body)), max_size=3)))
    return tuple(body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True))


authorizations = usually(
    None, "Api-Key {good}", "api-key {good}", "Api-Key {no scope}", "Api-Key {unknown}", "Api-Key",
    "Api-Key \xe4", "Bearer x", "Basic eDp5", "", percent=92,
)  # fmt: skip
METHODS = ("POST", "GET", "PUT", "OPTIONS", "HEAD", "DELETE", "PATCH", "post")
OTHERS = [
    (b"accept", b"application/json"),
    (b"accept", b"text/html"),
    (b"accept", b"image/png"),
    (b"accept", b"garbage"),
    (b"accept-language", b"de-DE,de;q=0.9"),
    (b"accept-language", b"en"),
    (b"accept-language", b"*"),
    (b"accept-encoding", b"gzip, br"),
    (b"x-request-id", b"proxy-1.2:3"),
    (b"x-request-id", b"0123456789abcdef"),
    (b"x-request-id", b"short"),
    (b"x-request-id", b'evil"\n[error] x'),
    (b"x-request-id", b""),
    (b"x-forwarded-proto", b"https"),
    (b"x-forwarded-proto", b"http"),
    (b"x-forwarded-proto", b"https, http"),
    (b"x-forwarded-proto", b""),
    (b"x-forwarded-host", b"evil.example"),
    (b"x-http-method-override", b"GET"),
    (b"x_forwarded_proto", b"https"),
    (b"content_type", b"text/plain"),
    (b"expect", b"100-continue"),
    (b"transfer-encoding", b"chunked"),
    (b"content-encoding", b"gzip"),
    (b"sec-fetch-site", b"cross-site"),
    (b"if-none-match", b"*"),
    (b"range", b"bytes=0-1"),
]
others: st.SearchStrategy[Headers] = st.lists(st.sampled_from(OTHERS), max_size=3)


def paths(code: str) -> list[str]:
    return [
        f"{POLLS}{code}/ballots/",
        f"{POLLS}{code.lower()}/ballots/",
        f"{POLLS}{code[:3]}-{code[3:]}/ballots/",
        f"{POLLS}{code} /ballots/",
        f"{POLLS}{code}/ballots",
        f"{POLLS}{code}/ballots//",
        f"{POLLS}{code}//ballots/",
        f"{POLLS}{code}/x/ballots/",
        f"{POLLS}{code}/ballots/batch/",
        f"{POLLS}{code}/voter/",
        f"{POLLS}ZZZZZZ/ballots/",
        f"{POLLS}{'A' * 40}/ballots/",
        f"{POLLS}\x00/ballots/",
        f"{POLLS}ä{code}/ballots/",
        f"{POLLS}/ballots/",
        f"{POLLS}ballots/",
        f"//{POLLS[1:]}{code}/ballots/",
    ]


@st.composite
def requests(draw: st.DrawFn, world: World) -> Sent:
    body = draw(bodies)
    state = draw(usually(st.sampled_from(["open", "multiple", "revote"]), *STATES, percent=60))
    headers: Headers = []
    for name, values in (
        (b"content-type", draw(content_types)),
        (b"host", draw(hosts)),
        (b"origin", draw(origins)),
        (b"cookie", draw(cookie_headers(world.voters))),
        (b"content-length", draw(usually(*lengths(len(body)), percent=90))),
    ):
        headers += [(name, value) for value in values]
    authorization = draw(authorizations)
    if authorization is not None:
        headers.append((b"authorization", authorization.format(**world.keys).encode("latin-1")))
    return Sent(
        path=draw(usually(*paths(world.codes[state]), percent=85)),
        headers=draw(st.permutations([*headers, *draw(others)])),
        pieces=draw(split(body)),
        method=draw(usually(*METHODS, percent=94)),
        query=draw(usually(b"", b"format=html", b"a=%ff&b", b"?", percent=90)),
        scheme=draw(usually("http", "https", percent=70)),
    )


def send_many(world: World, many: int) -> None:
    @examples(max_examples=many)
    @given(data=st.data())
    def send(data: st.DataObject) -> None:
        sent = data.draw(requests(world))
        world.compare(sent, lane_first=data.draw(st.booleans()))

    send()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Do not use the `random` module")  # a thread of the product uses it
def test_generated_requests_get_the_same_response_both_ways(world: World) -> None:
    send_many(world, EXAMPLES or 300)
    # Not all of them were refused early.
    assert min(world.seen[way] for way in ("lane 202", "lane 409 already_voted", "passed on 202")) > 2
    assert world.ways.taken > 50


def one_oddity(world: World, body: bytes) -> Iterator[Sent]:
    """The voter page's request, with one unusual detail at a time."""
    path, usual = f"{POLLS}{world.codes['open']}/ballots/", dict(cast_headers(identity.new_cookie(), body))
    odd: dict[bytes, list[list[bytes]]] = {
        b"content-type": CONTENT_TYPES,
        b"host": HOSTS,
        b"origin": ORIGINS,
        b"content-length": lengths(len(body)),
        b"cookie": [[cookie(form, identity.new_cookie(), identity.new_cookie())] for form in COOKIES],
    }
    for name, all_values in odd.items():
        kept = [header for header in usual.items() if header[0] != name]
        for values in all_values:
            yield Sent(path, [*kept, *((name, value) for value in values)], (body,))
    for header in OTHERS:
        yield Sent(path, [*usual.items(), header], (body,))
        yield Sent(path, [header, *usual.items(), (header[0], b"proxy-9.9:9")], (body,))
    for method in METHODS:
        yield Sent(path, [*usual.items()], (body,), method)
    for odd_path in paths(world.codes["open"]):
        yield Sent(odd_path, [*usual.items()], (body,))


@pytest.mark.slow
@pytest.mark.parametrize("selections", [b"[1]", b"[]"])
def test_lane_and_django_agree_with_one_odd_thing_at_a_time(world: World, selections: bytes) -> None:
    for sent in one_oddity(world, b'{"selections": %s}' % selections):
        world.compare(sent, lane_first=True)
    assert {"passed on 400 malformed", "passed on 401 voter_unknown", "lane 403 foreign_origin"} <= set(
        world.seen
    )


def test_odd_bodies_get_the_same_response_both_ways(world: World) -> None:
    path = f"{POLLS}{world.codes['open']}/ballots/"
    for body in RAW_BODIES:
        sent = Sent(path, cast_headers(identity.new_cookie(), body), (body,))
        world.compare(sent, lane_first=True)


@pytest.mark.full_only
@pytest.mark.parametrize("setting", SETTINGS)
def test_headers_follow_the_settings(setting: str, settings: Any, request: pytest.FixtureRequest) -> None:
    for name, value in SETTINGS[setting].items():
        setattr(settings, name, value)
    world: World = request.getfixturevalue("world")
    proxies = [None, b"https", b"http", b" https ,http", b"http,https", b""]
    languages = [None, b"en", b"de-DE,de;q=0.9", b"fr"]
    # Languages and schemes are independent, so not every combination is tried.
    ways = {*product(("http", "https"), proxies, [None]), *product(["http"], [None, b"https"], languages)}
    for (scheme, proxy, language), selection in product(sorted(ways, key=repr), (1, 99)):
        headers = cast_headers(identity.new_cookie(), b'{"selections": [%d]}' % selection)
        headers += [(b"x-forwarded-proto", proxy)] if proxy is not None else []
        headers += [(b"accept-language", language)] if language else []
        path = f"{POLLS}{world.codes['open']}/ballots/"
        sent = Sent(path, headers, (b'{"selections": [%d]}' % selection,), scheme=scheme)
        world.compare(sent, lane_first=True)
    assert {"lane 202", "lane 400 invalid_selection"} <= set(world.seen)
