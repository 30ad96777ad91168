"""The visitors of the measure `visit`, and the page that stock shows them."""

import asyncio
import threading
from collections.abc import Iterator

import pytest
from django.template import Context, Engine

from benchmarks.load.visitors import Visitors
from benchmarks.measures import visit
from tests.polls.api_client import make_poll
from tests.polls.public_pages import html


@pytest.mark.django_db
def test_stock_renders_the_same_page() -> None:
    poll = make_poll("Tea", "Coffee", question="What will it be?", open=True)
    source = html(f"/p/{poll.code}/")
    choices = {"all": [{"label": "Tea"}, {"label": "Coffee"}]}
    poll_of_stock = {"question": "What will it be?", "choices": choices}
    rendered = Engine().from_string(visit.as_template(source)).render(Context({"poll": poll_of_stock}))
    assert [rendered.count(text) for text in ("What will it be?", ">Tea<", ">Coffee<")] == [
        source.count(text) for text in ("What will it be?", ">Tea<", ">Coffee<")
    ]
    assert rendered.count("<label") == source.count("<label")
    assert 0.95 < len(rendered) / len(source) < 1.05


class TinyServer:
    """Gives each visitor a cookie, accepts its socket and its ballot; notes the requests."""

    def __init__(self) -> None:
        self.heads: list[str] = []
        self.port = 0
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._handlers: set[asyncio.Task[None] | None] = set()
        self.thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))

    async def _serve(self) -> None:
        self._end = asyncio.Event()
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._end.wait()
        server.close()
        await asyncio.gather(*filter(None, self._handlers))

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._handlers.add(asyncio.current_task())
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                self.heads.append(head)
                if "Upgrade" in head:
                    writer.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x02{}")
                elif head.startswith("POST"):
                    await reader.readuntil(b"}")
                    writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
                else:
                    cookie = f"Set-Cookie: voter=v{len(self.heads)}; HttpOnly; Path=/\r\n".encode()
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + cookie + b"\r\n{}")
        except asyncio.IncompleteReadError:
            writer.close()

    def __enter__(self) -> "TinyServer":
        self.thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self.thread.join()
        self._loop.close()


@pytest.fixture
def server() -> Iterator[TinyServer]:
    with TinyServer() as server:
        yield server


def test_each_visitor_takes_all_steps_with_its_own_cookie(server: TinyServer) -> None:
    visitors = Visitors()
    visitors.do_arrive(server.port, 3)
    visitors.do_get("/voter/")
    visitors.do_watch("/ws/")
    visitors.do_leave_sockets()
    visitors.do_cast("/ballots/", '{"id":"{ballot_id}","choice":{choice}}', [7], expect=202)
    visitors.do_arrive(server.port, 0)
    visitors.runner.close()
    assert [head.split()[1] for head in server.heads] == ["/voter/"] * 3 + ["/ws/"] * 3 + ["/ballots/"] * 3
    cookies = [head.split("Cookie: ")[1].split("\r\n")[0] for head in server.heads[6:]]
    assert len(set(cookies)) == 3
