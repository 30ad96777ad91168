"""Real PostgreSQL, Redis and nginx servers for tests, on free ports and in temporary folders."""

import contextlib
import ctypes
import fcntl
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import psycopg
import redis
from psycopg import sql

from tests import install

#: Seconds until a test gives up waiting. It only detects hanging, and is no demand on speed: the machine may
#: be busy.
PATIENCE = 60


class ServerFailed(Exception):
    """A server did not start. The message ends with the server's log."""


#: Lock files of the ports that this process has reserved. The locks end with the process.
_ports: dict[int, IO[str]] = {}


def free_port() -> int:
    """Reserve a port that nothing listens on, until `release_port`.

    No other test process on this machine gets the port, even before our server has started or while it
    restarts. The port is below the range that the system uses for outgoing connections.
    """
    folder = Path(tempfile.gettempdir()) / f"landslide-ports-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    while True:
        port = 10_000 + secrets.randbelow(22_000)
        lock = (folder / str(port)).open("w")
        with socket.socket() as probe, contextlib.suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            probe.bind(("127.0.0.1", port))
            _ports[port] = lock
            return port
        lock.close()


def release_port(port: int) -> None:
    if lock := _ports.pop(port, None):
        lock.close()


def wait_for(ready: Callable[[], bool], seconds: float = PATIENCE, what: str = "it") -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds} s for {what}")
        time.sleep(0.02)


def tail(path: Path, lines: int = 60) -> str:
    if not path.exists():
        return ""
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])


libc = ctypes.CDLL(None)  # loaded here, since little is safe between fork and exec
SET_PARENT_DEATH_SIGNAL = 1


def dying_with_us(how: signal.Signals) -> Callable[[], None] | None:
    """Return a Popen preexec_fn: the child gets the signal `how` when this process ends for any reason.

    A shell makes background programs and their children ignore Ctrl-C, so the child's handler is reset. To
    the kernel, the child's parent is the thread that started it. Only the main thread lives long enough, so
    for other threads this returns None.
    """
    if sys.platform != "linux" or threading.current_thread() is not threading.main_thread():
        return None

    def prepare() -> None:
        libc.prctl(SET_PARENT_DEATH_SIGNAL, how)
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    return prepare


def identity(user: str | None) -> dict[str, Any]:
    """Return Popen's arguments for running as `user`, or as the current user if None."""
    if user is None:
        return {}
    return {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}


class Server:
    """A server process. It keeps its port and folder over a restart."""

    name = "server"
    stop_signal = signal.SIGTERM
    kill_signal = signal.SIGKILL

    def __init__(self, port: int | None = None) -> None:
        self.port = port or free_port()
        self.folder = Path(tempfile.mkdtemp(prefix=f"landslide-{self.name}-"))
        self.log = self.folder / "log"
        self.cwd = self.folder
        self.environment: Mapping[str, str] | None = None  # None: this process's environment
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def answers(self) -> bool:
        raise NotImplementedError

    @property
    def user(self) -> str | None:
        """The user that the server runs as, or None for the user who runs the tests."""
        return None

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        if self.running:
            return
        self.run()
        try:
            wait_for(lambda: not self.running or self.answers(), what=self.name)
        except TimeoutError:
            self.stop()
        if not self.running:
            raise ServerFailed(f"{self.name} did not start:\n{tail(self.log)}")

    def run(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.cwd,
                env=self.environment,
                **identity(self.user),
                preexec_fn=dying_with_us(self.stop_signal),
                start_new_session=True,  # so that only pytest gets Ctrl-C, and stops the servers in order
            )

    def stop(self) -> None:
        self._end(self.stop_signal)

    def kill(self) -> None:
        """Crash the server. It can't save anything or close its connections."""
        self._end(self.kill_signal)

    def restart(self) -> None:
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Stop the server with SIGSTOP. As on a machine that hangs, connections stay open without answers."""
        assert self.process
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGCONT)

    def remove(self) -> None:
        self.stop()
        release_port(self.port)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end(self, how: signal.Signals) -> None:
        if not self.running:
            return
        assert self.process
        self.process.send_signal(how)
        self.process.send_signal(signal.SIGCONT)  # a stopped process would not handle the signal
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class PostgreSQL(Server):
    """A PostgreSQL server. With `durable`, each commit waits for the disk, as in production.

    Without it, tests are faster. A crash of the machine could then lose data, but a crash of the server
    can't.
    """

    name = "postgresql"
    stop_signal = signal.SIGINT  # "fast" shutdown, which doesn't wait for clients to disconnect
    kill_signal = signal.SIGQUIT  # like a crash: the next start recovers. SIGKILL would orphan the children.

    def __init__(self, port: int | None = None, *, durable: bool = False, **settings: str) -> None:
        super().__init__(port)
        found = install.postgresql_bin()
        if found is None:
            raise ServerFailed("PostgreSQL is not installed; `python -m tests.install` does that")
        self.bin = found
        self.data = self.folder / "data"
        self.settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.folder),
            "max_connections": "200",
            "fsync": "on" if durable else "off",
            "full_page_writes": "on" if durable else "off",
            **settings,
        }

    @property
    def user(self) -> str | None:
        """An unprivileged user if the tests run as root, since PostgreSQL refuses to run as root."""
        if os.geteuid() != 0:
            return None
        known = {entry.pw_name for entry in pwd.getpwall()}
        return "postgres" if "postgres" in known else "nobody"

    def command(self) -> list[str]:
        options = [part for key, value in self.settings.items() for part in ("-c", f"{key}={value}")]
        return [str(self.bin / "postgres"), "-D", str(self.data), *options]

    def run(self) -> None:
        if not self.data.exists():
            self._initialise()
        super().run()

    def _initialise(self) -> None:
        if self.user:
            shutil.chown(self.folder, self.user)
        made = subprocess.run(
            [self.bin / "initdb", "-D", self.data, "--username=landslide", "--auth=trust"]
            + ["--encoding=UTF8", "--locale=C", "--no-sync"],
            capture_output=True,
            text=True,
            cwd=self.folder,
            **identity(self.user),
        )
        if made.returncode:
            raise ServerFailed(f"initdb failed:\n{made.stdout}{made.stderr}")

    def answers(self) -> bool:
        try:
            self.connect("postgres").close()
        except psycopg.OperationalError:
            return False
        return True

    def connect(self, database: str) -> psycopg.Connection:
        return psycopg.connect(self.url(database), autocommit=True, connect_timeout=PATIENCE)

    def url(self, database: str) -> str:
        return f"postgres://landslide@127.0.0.1:{self.port}/{database}"

    def freeze(self) -> None:
        super().freeze()  # the parent first, so that it starts no new backend
        self._signal_backends(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal_backends(signal.SIGCONT)
        super().thaw()

    def _signal_backends(self, how: signal.Signals) -> None:
        """Signal the backends, which serve connections and would go on while their parent is stopped."""
        assert self.process
        pid = self.process.pid
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), how)

    def create_database(self, name: str) -> str:
        with self.connect("postgres") as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.url(name)

    def drop_database(self, name: str) -> None:
        with self.connect("postgres") as connection:
            connection.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
            )


#: The settings that Landslide requires of the Redis that holds its vote log.
KEEPS_PROMISES = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction", "save": ""}


class Redis(Server):
    """A Redis server. Landslide refuses it as a vote log with other settings, such as appendonly="no"."""

    name = "redis"

    def __init__(self, port: int | None = None, **settings: str) -> None:
        super().__init__(port)
        self.settings = KEEPS_PROMISES | {key.replace("_", "-"): value for key, value in settings.items()}

    def command(self) -> list[str]:
        found = install.redis_server()
        if found is None:
            raise ServerFailed("Redis is not installed; `python -m tests.install` does that")
        options = [part for key, value in self.settings.items() for part in (f"--{key}", value)]
        place = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        return [str(found), *place, *options]

    def answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:  # also while Redis loads its file
            return False

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port, socket_timeout=PATIENCE)

    def url(self, number: int = 0) -> str:
        return f"redis://127.0.0.1:{self.port}/{number}"


SHIPPED_NGINX = Path(__file__).resolve().parent.parent / "deploy" / "nginx.conf"


class Nginx(Server):
    """nginx with deploy/nginx.conf, in front of the port `upstream`. Only paths and ports differ.

    `changes` maps texts of the file to their replacements. Each text must be in the file.
    """

    name = "nginx"
    kill_signal = signal.SIGTERM  # SIGKILL would orphan its workers

    def __init__(self, upstream: int, changes: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.upstream = upstream
        self.config = self.folder / "nginx.conf"
        self.access_log = self.folder / "access.log"
        self.config.write_text(self._configuration(changes or {}))

    def _configuration(self, changes: Mapping[str, str]) -> str:
        text = SHIPPED_NGINX.read_text()
        for found, put in (self._places() | dict(changes)).items():
            if found not in text:
                raise ServerFailed(f"deploy/nginx.conf has no {found!r}")
            text = text.replace(found, put)
        return text

    def _places(self) -> dict[str, str]:
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = "".join(f" {kind}_temp_path {self.folder}/{kind};" for kind in kinds)
        return {
            "user www-data;": f"user {pwd.getpwuid(os.geteuid()).pw_name}; daemon off;",
            "pid /run/nginx.pid;": f"pid {self.folder}/pid;",
            "/var/log/nginx/error.log": "stderr",
            "/var/log/nginx/access.log combined buffer=64k flush=5s": f"{self.access_log} combined",
            "/var/cache/landslide": f"{self.folder}/cache",
            "http {\n": f"http {{{temporary}\n",
            "worker_processes auto;": "worker_processes 2;",
            "listen 80 backlog=4096;": f"listen 127.0.0.1:{self.port} backlog=4096;",
            "server 127.0.0.1:8000": f"server 127.0.0.1:{self.upstream}",
        }

    def command(self) -> list[str]:
        found = install.nginx()
        if found is None:
            raise ServerFailed("nginx is not installed; `python -m tests.install` does that")
        return [str(found), "-p", str(self.folder), "-e", "stderr", "-c", str(self.config)]

    def answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def started(*servers: Server) -> Iterator[None]:
    """Run these servers during the block, and always remove them at its end."""
    try:
        for server in servers:
            server.start()
        yield
    finally:
        for server in reversed(servers):
            server.remove()
