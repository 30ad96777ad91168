"""Fastify and ioredis (benchmarks/peers/fastify): one Node process, and a Redis that waits for the disk."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64encode

from benchmarks.load.source import post
from benchmarks.measure import Bench
from benchmarks.processes import Program, pid_of
from benchmarks.targets.base import Target
from tests.servers import Redis, started


class Fastify(Target):
    name = "fastify"

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench.home)
        folder = bench.peer("fastify")
        self.redis = Redis()
        bench.until.enter_context(started(self.redis))
        self.secret = secrets.token_urlsafe(32)
        env = {"SECRET_KEY": self.secret, "REDIS_URL": self.redis.url(), "PORT": "{port}"}
        self.node = Program(
            "fastify", ["node", "server.js"], env=env | {"NODE_ENV": "production"}, cwd=folder
        )
        bench.until.enter_context(started(self.node))
        self.port = self.node.port
        body = '{"ballot_id":"{ballot_id}","round":1,"selections":[{choice}]}'
        self.template = post("/api/v1/polls/DEMO/ballots/", body, cookie="voter={cookie}")

    @property
    def web(self) -> list[int]:
        return [self.node.pid]

    @property
    def behind(self) -> list[int]:
        return [pid_of(self.redis)]

    @property
    def parts(self) -> dict[str, list[int]]:
        return {"web": self.web, "Redis": self.behind}

    def mint(self, count: int) -> None:
        with self.voters.open("a") as file:
            for _ in range(count):
                token = secrets.token_urlsafe(16)
                signature = hmac.digest(self.secret.encode(), token.encode(), hashlib.sha256)
                file.write(f"{token}.{urlsafe_b64encode(signature).rstrip(b'=').decode()}\n")

    def counted(self) -> int:
        with self.redis.client() as client:
            return int(client.xlen("log:DEMO"))
