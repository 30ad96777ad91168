"""What a voter's visit costs the web process: page, voter endpoint, socket and ballot."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from benchmarks.measure import Bench
from benchmarks.orders import Ordered
from benchmarks.processes import Meter, load_core
from benchmarks.result import Goal, Row
from benchmarks.targets import OurSystem, Stock
from benchmarks.targets.base import Target

NAME = "visit"
TITLE = "A voter's visit: page, voter endpoint, socket, ballot"
STEPS = ("page", "voter", "socket", "ballot")
TITLES = {
    "page": "the voter's page",
    "voter": "`voter/` for a new visitor",
    "socket": "a socket and its first tally",
    "ballot": "a ballot",
}
AGAIN = {
    "voted": "`voter/` for somebody who has voted",
    "invite": "`voter/` with an invite",
    "pass": "`voter/` with the pass of an invite",
    "account": "`voter/` with an account",
}
VISITORS, QUICK_VISITORS = 2_000, 500
STOCK_PART = 10  # stock gets a tenth of the visitors, since all of them would take minutes
MOST_MS, AGAIN_MOST_MS, STOCK_RATIO = 0.6, 1.0, 1 / 30
#: Text that differs between polls. In stock's page, this text comes from the database.
QUESTION = re.compile(r'(<h1 id="question"[^>]*>)[^<]*')
CARDS = re.compile(r'(<div class="choices"[^>]*>)\s*(<label.*?</label>).*?(\s*</div>)', re.DOTALL)
LABEL = re.compile(r'(<span class="label"[^>]*>)[^<]*')

Sample = dict[str, float]  # CPU milliseconds of the web process per visitor, by step


@dataclass
class Way:
    """The addresses of a visit, and what to send."""

    target: Target
    page: str
    voter: str
    socket: str
    ballots: str
    body: str
    choices: list[int]


def run(bench: Bench) -> list[Row]:
    ours = OurSystem(bench, web=1, worker=1)
    source = httpx.get(f"{ours.system.url}/p/{ours.code}/").text
    templates = bench.home / "templates"
    templates.mkdir(exist_ok=True)
    (templates / "page.html").write_text(as_template(source))
    stock = Stock(bench, templates=str(templates))
    for target in (ours, stock):
        target.keep_web_apart()
    count = QUICK_VISITORS if bench.quick else VISITORS
    inside = bench.until.enter_context(Ordered("benchmarks.inside", env=ours.system.env))
    with Ordered("benchmarks.load.visitors", cpus=load_core()) as visitors:
        takes: dict[str, Callable[[], Sample]] = {
            "landslide": lambda: {
                **visit(our_way(ours), visitors, count),
                **returning(ours, visitors, inside, count // 2),
            },
            "stock": lambda: visit(stock_way(stock), visitors, count // STOCK_PART),
        }
        visit(our_way(ours), visitors, 100)
        visit(stock_way(stock), visitors, 20)
        taken = bench.in_turn(takes)
    return rows(taken, count)


def as_template(source: str) -> str:
    """Turn Landslide's page into a Django template. Only its question and choices are variables."""
    card = CARDS.search(source)
    if card is None or "{{" in source or "{%" in source:
        raise ValueError("The voter's page isn't as expected.")
    choice = LABEL.sub(r"\1{{ choice.label }}", card[2])
    loop = f"{card[1]}{{% for choice in poll.choices.all %}}{choice}{{% endfor %}}{card[3]}"
    return QUESTION.sub(r"\1{{ poll.question }}", source[: card.start()] + loop + source[card.end() :])


def our_way(ours: OurSystem) -> Way:
    code = ours.new_poll()  # a new poll, which has few ballots
    api = f"/api/v1/polls/{code}"
    body = '{"ballot_id":"{ballot_id}","round":1,"selections":[{choice}]}'
    return Way(
        ours, f"/p/{code}/", f"{api}/voter/", f"/ws/polls/{code}/", f"{api}/ballots/", body, [1, 2, 3, 4, 5]
    )


def stock_way(stock: Stock) -> Way:
    poll, *choices = stock.run_manage("set_up", "--polls", "1").split()
    api = f"/api/polls/{poll}"
    body = '{"choice":{choice}}'
    return Way(
        stock,
        f"/p/{poll}/",
        f"{api}/voter/",
        f"/ws/polls/{poll}/",
        f"{api}/votes/",
        body,
        [*map(int, choices)],
    )


def visit(way: Way, visitors: Ordered, count: int) -> Sample:
    """Return the milliseconds of each step, and of all steps together.

    The sockets are closed before the ballots, since `fanout` measures the cost of showing tallies.
    """
    visitors.order("arrive", port=way.target.port, count=count)
    sample = {}
    for step, order, options in (
        ("page", "get", {"path": way.page}),
        ("voter", "get", {"path": way.voter}),
        ("socket", "watch", {"path": way.socket}),
        ("ballot", "cast", {"path": way.ballots, "body": way.body, "choices": way.choices}),
    ):
        if step == "ballot":
            visitors.order("leave_sockets")
            options = {**options, "expect": way.target.accepted}
        sample[step] = measured(way.target, visitors, count, order, **options)
    return {**sample, "together": sum(sample[step] for step in STEPS)}


def returning(ours: OurSystem, visitors: Ordered, inside: Ordered, count: int) -> Sample:
    """Return the milliseconds of `voter/` for visitors who have voted or have an invite, pass or account."""
    sample = {}
    path = f"/api/v1/polls/{ours.code}/voter/"
    everybody = 2 * count
    sample["voted"] = measured(ours, visitors, everybody, "get", path=path)
    invited = inside.order("invite", count=count)
    visitors.order("arrive", port=ours.port, count=count)
    path = f"/api/v1/polls/{invited['code']}/voter/"
    header = "Voter-Invite: {given}\r\n"
    sample["invite"] = measured(
        ours, visitors, count, "get", path=path, headers=header, given=invited["tokens"]
    )
    sample["pass"] = measured(ours, visitors, count, "get", path=path)
    members = inside.order("sign_in", count=count)
    visitors.order("arrive", port=ours.port, count=count)
    path = f"/api/v1/polls/{members['code']}/voter/"
    header = "Cookie: sessionid={given}\r\n"
    sample["account"] = measured(
        ours, visitors, count, "get", path=path, headers=header, given=members["sessions"]
    )
    return sample


def measured(target: Target, visitors: Ordered, count: int, order: str, **options: Any) -> float:
    meter = Meter(*target.web)
    visitors.order(order, **options)
    return 1000 * meter.seconds() / count


def rows(taken: Mapping[str, list[Sample]], count: int) -> list[Row]:
    note = (
        f"{count:,} visitors, {count // STOCK_PART:,} of stock, each with a connection of its own and another"
        " for the socket. Stock: a Django view that renders the same page, DRF, Channels, on Daphne."
    )
    goals = [Goal(most=MOST_MS), Goal("stock", most=STOCK_RATIO)]
    first = _row("together", "a visit: all four steps", taken, goals, note)
    steps = [_row(step, TITLES[step], taken, [], "") for step in STEPS]
    again = [
        _row(who, title, {"landslide": taken["landslide"]}, [Goal(most=AGAIN_MOST_MS)], "")
        for who, title in AGAIN.items()
    ]
    return [first, *steps, *again]


def _row(part: str, title: str, taken: Mapping[str, list[Sample]], goals: list[Goal], note: str) -> Row:
    figures = {who: [sample[part] for sample in samples] for who, samples in taken.items()}
    return Row(
        f"{NAME}.{part}", f"CPU of the web process for {title}", "ms", figures.pop("landslide"), figures,
        goals, higher_is_better=False, note=note,
    )  # fmt: skip
