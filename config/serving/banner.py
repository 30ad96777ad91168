"""What `serve` prints once the server answers: addresses, a QR code, the admin account."""

import http.client
import io
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import TextIO

import segno
from django.conf import settings

from config.serving.network import display_host, is_wildcard
from config.serving.prepare import Account

DEMO = "DEMO"
POLL_SECONDS = 0.1


def base_url(host: str, port: int) -> str:
    return f"http://{display_host(host)}:{port}"


def when_ready(host: str, port: int, announce: Callable[[], None]) -> None:
    """Call `announce` in a new thread as soon as the server answers."""

    def watch() -> None:
        wait_for(host, port)
        announce()

    Thread(target=watch, name="ready", daemon=True).start()


def wait_for(host: str, port: int) -> None:
    target = ("::1" if ":" in host else "127.0.0.1") if is_wildcard(host) else host.strip("[]")
    while not is_serving(target, port):
        time.sleep(POLL_SECONDS)


def is_serving(host: str, port: int) -> bool:
    link = http.client.HTTPConnection(host, port, timeout=2)
    try:
        link.request("GET", "/healthz", headers={"Host": allowed_host(), "Connection": "close"})
        return link.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        link.close()


def allowed_host() -> str:
    """Return a Host header that ALLOWED_HOSTS permits."""
    exact = [host for host in settings.ALLOWED_HOSTS if not host.startswith((".", "*"))]
    return exact[0] if exact else "127.0.0.1"


def qr_code(url: str, encoding: str | None) -> str:
    if not (encoding or "").lower().startswith("utf"):
        return ""  # the terminal lacks the block characters
    picture = io.StringIO()
    segno.make(url, error="m").terminal(picture, border=2, compact=True)
    return picture.getvalue().rstrip("\n")


def announce(base: str, account: Account | None, out: TextIO) -> None:
    """Print all lines in one write, so that a program that waits for the first line can read the rest."""
    lines = [f"Landslide is ready at {base}/"]
    if account:
        lines += demo_lines(base, account, out.encoding)
    out.write("\n".join(lines) + "\n")
    out.flush()


def demo_lines(base: str, account: Account, encoding: str | None) -> list[str]:
    base = settings.PUBLIC_URL or base
    vote = f"{base}/p/{DEMO}/"
    return [
        "",
        f"  Vote     {vote}",
        f"  Present  {vote}present/",
        f"  Admin    {base}/admin/",
        f"           name {account.name}, password {account.password or f'({account.note})'}",
        "",
        *(f"  {line}" for line in qr_code(vote, encoding).splitlines()),
        "",
        f"  Simulate an audience: {python_command()} manage.py crowd {DEMO} --voters 200 --rate 20",
        "  Press Ctrl-C to stop.",
        "",
    ]


def python_command() -> str:
    """Return the command that starts this Python from the current folder."""
    running = Path(sys.executable)
    return str(running.relative_to(Path.cwd())) if running.is_relative_to(Path.cwd()) else "python"
