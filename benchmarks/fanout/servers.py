"""The servers that broadcast tallies. Each runs in its own process and gets tallies in its own way."""

from __future__ import annotations

import asyncio
import http.client
import os
import pwd
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import msgspec
from channels_redis.pubsub import RedisPubSubChannelLayer
from websockets.sync.client import connect

from benchmarks import peers
from benchmarks.measure import Bench, Skip
from benchmarks.processes import Program, pid_of, pin, server_core
from benchmarks.targets.stock import Stock
from tests.servers import started

from .viewers import Door, allow_many_files

NCHAN_PLACES = ("/usr/lib/nginx/modules/ngx_nchan_module.so", "/usr/lib64/nginx/modules/ngx_nchan_module.so")


#: About as often as Landslide sends a tally while ballots arrive.
TALLIES_A_SECOND = 10
#: The stock stack takes half a second to send one tally to 2,000 viewers.
STOCK_TALLIES_A_SECOND = 1


@dataclass
class FanOut:
    """A running server: its address, the processes that serve viewers, and how to make it send tallies."""

    name: str
    door: Door
    roots: list[int]
    send: Callable[[float], None]  # the argument says for how many seconds to send


Publish = Callable[[bytes], None]


class Paced:
    """Sends one of Landslide's tallies (`template`) again and again, with a growing number of ballots."""

    ballots = 1_000_000

    def __init__(self, publish: Publish, template: bytes, rate: float = TALLIES_A_SECOND) -> None:
        self._publish, self._rate = publish, rate
        self._document = msgspec.json.decode(template)
        self.one()  # after this, new viewers get a tally at once

    def one(self) -> None:
        self.ballots += 1
        self._publish(msgspec.json.encode(self._document | {"ballots": self.ballots}))

    def __call__(self, seconds: float) -> None:
        started = time.monotonic()
        for number in range(round(seconds * self._rate)):
            time.sleep(max(0.0, started + number / self._rate - time.monotonic()))
            self.one()


def _post(port: int) -> Publish:
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def post(message: bytes) -> None:
        line.request("POST", "/publish", message, {"Content-Type": "application/json"})
        line.getresponse().read()

    def publish(message: bytes) -> None:
        try:
            post(message)
        except (http.client.HTTPException, ConnectionError):
            line.close()  # the server has closed the idle connection
            post(message)

    return publish


def _run(until: ExitStack, program: Program) -> Program:
    allow_many_files()
    until.enter_context(started(program))
    pin([pid_of(program)], server_core())
    return program


def _node(bench: Bench, until: ExitStack, template: bytes, name: str, door: tuple[str, str]) -> FanOut:
    if shutil.which("node") is None:
        raise Skip("node is not installed")
    program = _run(until, Program(name, ["node", "server.js", "{port}"], cwd=bench.peer(name)))
    dialect, path = door
    return FanOut(
        name,
        Door(dialect, f"127.0.0.1:{program.port}", path),
        [program.pid],
        Paced(_post(program.port), template),
    )


def ws(bench: Bench, until: ExitStack, template: bytes) -> FanOut:
    return _node(bench, until, template, "ws", ("websocket", "/"))


def socketio(bench: Bench, until: ExitStack, template: bytes) -> FanOut:
    return _node(bench, until, template, "socketio", ("socketio", "/socket.io/"))


def nchan(bench: Bench, until: ExitStack, template: bytes) -> FanOut:
    module = next((place for place in NCHAN_PLACES if Path(place).exists()), None)
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if nginx is None or module is None:
        raise Skip("nginx with nchan is not installed (Debian: nginx-light libnginx-mod-nchan)")
    program = Program("nchan", [nginx, "-p", "{folder}", "-c", "{folder}/nginx.conf", "-e", "stderr"])
    # As root, nginx would run its worker as another user, who can't write to our folder.
    user = f"user {pwd.getpwuid(os.geteuid()).pw_name};" if os.geteuid() == 0 else ""
    conf = (peers.SOURCES / "nchan" / "nginx.conf").read_text()
    filled_in = {"FOLDER": str(program.folder), "PORT": str(program.port), "MODULE": module, "USER": user}
    for name, value in filled_in.items():
        conf = conf.replace(f"@{name}@", value)
    (program.folder / "nginx.conf").write_text(conf)
    _run(until, program)
    door = Door("websocket", f"127.0.0.1:{program.port}", "/viewers")
    return FanOut("nchan", door, [program.pid], Paced(_post(program.port), template))


def broadcast(bench: Bench, until: ExitStack, template: bytes) -> FanOut:
    source = bench.peer("broadcast") / "server.py"
    program = _run(until, Program("broadcast", [sys.executable, str(source), "{port}"]))
    line = until.enter_context(connect(f"ws://127.0.0.1:{program.port}/publish", compression=None))
    send = Paced(lambda message: line.send(message.decode()), template)
    return FanOut("broadcast", Door("websocket", f"127.0.0.1:{program.port}", "/"), [program.pid], send)


def stock_fan_out(stock: Stock, until: ExitStack, template: bytes) -> FanOut:
    """The stock stack's consumers. Tallies come through the channel layer, as from its Celery task."""
    loop = until.enter_context(asyncio.Runner())
    layer = RedisPubSubChannelLayer(hosts=[stock.redis.url()])

    def publish(message: bytes) -> None:
        event = {"type": "poll.tally", "poll": 1, "votes": msgspec.json.decode(message)}
        loop.run(layer.group_send("poll_1", event))

    door = Door("websocket", f"127.0.0.1:{stock.port}", "/ws/polls/1/")
    return FanOut("stock", door, stock.web, Paced(publish, template, STOCK_TALLIES_A_SECOND))


PEERS: dict[str, Callable[[Bench, ExitStack, bytes], FanOut]] = {
    "nchan": nchan,
    "ws": ws,
    "Socket.IO": socketio,
    "websockets.broadcast": broadcast,
}
