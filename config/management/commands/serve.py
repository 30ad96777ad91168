"""`manage.py serve`: one process without Redis, supervised processes with it."""

import errno
import json
import os
import socket
import sys
import tempfile
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.assets.static_files import collect_if_changed
from config.serving import banner, network, prepare
from config.serving.embedded import EmbeddedWorker
from config.serving.supervisor import Child, Supervisor
from config.serving.web import DEFAULT_SERVER, SERVERS, listen, run
from polls.timings import MULTIPROCESS_FOLDER

STAGE_WEB, STAGE_WORKERS = 0, 1


def cores() -> int:
    """Return the number of cores that this process may use. A container may have a limit."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Command(BaseCommand):
    help = "Serve Landslide in one process, or with REDIS_URL as web processes, Celery workers and beat."
    requires_system_checks = "__all__"

    def add_arguments(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add("--host", default=settings.HOST, help="address to listen on (HOST, %(default)s)")
        add("--port", type=int, default=settings.PORT, help="port to listen on (PORT, %(default)s)")
        add("--server", choices=SERVERS, default=DEFAULT_SERVER, help="ASGI server (%(default)s)")
        add("--web", type=int, help="number of web processes (one per core)")
        add("--worker", type=int, help="number of Celery workers (2); 0 if workers and beat run elsewhere")
        add("--prepare", action="store_true", help="first migrate, and add demo polls and an admin account")

    def handle(self, *_args: Any, **options: Any) -> None:
        host, port, server = options["host"], options["port"], options["server"]
        if settings.EMBEDDED and (options["web"], options["worker"]) != (None, None):
            raise CommandError("--web and --worker need several processes: set REDIS_URL and DATABASE_URL.")
        if options["web"] is None:
            options["web"] = cores()
        if options["worker"] is None:
            options["worker"] = 2
        if options["web"] < 1 or options["worker"] < 0:
            raise CommandError("--web must be at least 1, --worker at least 0.")
        if not 0 <= port <= 65_535:
            raise CommandError("--port must be from 0 to 65535.")
        listener = self.bind(host, port, server)
        self.follow_host(host, port)
        account = prepare.prepare_demo() if options["prepare"] else None
        prepare.check_database()
        prepare.check_secret_key()
        prepare.check_vote_log()
        collect_if_changed()
        prepare.close_database_connections()

        network.raise_open_file_limit()
        base = banner.base_url(host, port)

        def announce() -> None:
            banner.announce(base, account, sys.stdout)

        if settings.EMBEDDED:
            with EmbeddedWorker():
                banner.when_ready(host, port, announce)
                run(server, listener)
        else:
            with tempfile.TemporaryDirectory(prefix="landslide-timings-") as folder:
                os.environ.setdefault(MULTIPROCESS_FOLDER, folder)
                self.supervise(listener, options, announce)

    def bind(self, host: str, port: int, server: str) -> socket.socket:
        if server == "daphne" and ":" in host:
            raise CommandError("Daphne can't serve on an IPv6 address: use --server uvicorn.")
        try:
            return listen(host, port)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise CommandError(
                    f"Port {port} is in use. Is Landslide already running? If not, try PORT={port + 1}."
                ) from None
            raise CommandError(f"Can't listen on {host} port {port}: {error.strerror}.") from None

    def follow_host(self, host: str, port: int) -> None:
        """Set HOST and PORT to the options, here and in child processes."""
        if host != settings.HOST and not os.environ.get("ALLOWED_HOSTS"):
            settings.ALLOWED_HOSTS = network.allowed_hosts(host)
        os.environ.update(HOST=host, PORT=str(port))

    def supervise(self, listener: socket.socket, options: dict[str, Any], announce: Any) -> None:
        python = [sys.executable, "-m"]
        web = [*python, "config.serving.web", "--fd", str(listener.fileno()), "--server", options["server"]]
        celery = [*python, "celery", "--quiet", "-A", "config"]
        worker = [*celery, "worker", "--without-mingle", "--without-gossip", "--loglevel", "WARNING"]
        children = [
            *(Child(f"web.{n}", web, STAGE_WEB) for n in range(1, options["web"] + 1)),
            *(
                # When CPU time is short, web processes go first: late counting works in larger batches.
                Child(f"worker.{n}", [*worker, "-n", f"worker.{n}@%h"], STAGE_WORKERS, nice=5)
                for n in range(1, options["worker"] + 1)
            ),
        ]
        if options["worker"]:
            beat = [*celery, "beat", "--loglevel", "WARNING", "--pidfile="]
            children.append(Child("beat", beat, STAGE_WEB))
        supervisor = Supervisor(children, emit=self.emit, pass_fds=[listener.fileno()])

        def ready() -> None:
            supervisor.ready = True
            announce()

        banner.when_ready(options["host"], options["port"], ready)
        if code := supervisor.run():
            sys.exit(code)

    def emit(self, name: str, line: bytes) -> None:
        """Write a line of a child's output, with the child's name as a prefix or as a member of the JSON."""
        if line.startswith(b"{"):
            line = b'{"process": %s, ' % json.dumps(name).encode() + line[1:]
        else:
            line = f"{name:<9}| ".encode() + line
        sys.stderr.buffer.write(line + b"\n")
        sys.stderr.buffer.flush()
