"""`manage.py serve` with real processes and signals, and what it prints."""

import os
import re
import signal
import socket
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.db import connection

from config.serving import network, web
from config.serving.network import lan_address
from tests.e2e.clients import Client, assert_all_agree, close_all
from tests.servers import PATIENCE, wait_for
from tests.system import READY, ROOT, Landslide, bare_environment, processes

pytestmark = pytest.mark.slow


def refused(tmp_path: Path, *arguments: str, **environment: str) -> str:
    """Return the output of a `serve` that refuses to start."""
    done = subprocess.run(
        [sys.executable, "manage.py", "serve", *arguments],
        cwd=ROOT,
        env=bare_environment(tmp_path, DATA_DIR=str(tmp_path / "data"), **environment),
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=False,
    )
    output = done.stdout + done.stderr
    assert done.returncode != 0
    assert "Traceback" not in output
    assert READY not in output
    return output


def stop(system: Landslide, number: int) -> None:
    """Stop all processes with this signal. They end without errors, and none is left."""
    assert system.process
    family = {each.pid for each in system.family()}
    system.process.send_signal(number)
    assert system.process.wait(PATIENCE) == 0
    assert not family & {each.pid for each in processes()}
    assert "Traceback" not in system.output()


def healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=PATIENCE) as response:
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError):
        return False


@pytest.fixture
def port() -> Iterator[int]:
    """The number of a port that is in use."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield taken.getsockname()[1]


def test_serve_prepare_prints_addresses_and_keeps_the_account(landslide):
    system = landslide(env={"ADMIN_PASSWORD": ""})
    with urllib.request.urlopen(f"{system.url}/healthz", timeout=PATIENCE) as response:
        assert len(response.headers.get_all("Date")) == 1, "pages set their clock by the one Date header"
    output = system.output()
    assert output.count(READY) == 1
    assert f"{READY} {system.url}/\n" in output
    assert f"{system.url}/p/DEMO/\n" in output
    assert f"{system.url}/p/DEMO/present/\n" in output
    assert f"{system.url}/admin/\n" in output
    assert "▀" in output  # the QR code
    assert healthy(system.url)
    assert system.children() == []
    shown = re.search(r"name admin, password (\S+)", output)
    assert shown
    kept = system.folder / "data" / "admin-password"
    assert kept.read_text().strip() == shown[1]
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    stop(system, signal.SIGINT)
    system.start()
    assert f"password {shown[1]}\n" in system.output()
    assert password_works(system, shown[1])
    stop(system, signal.SIGTERM)
    system.env["ADMIN_PASSWORD"] = "another one"
    system.start()
    assert password_works(system, "another one")
    assert "another one" not in system.output()


def password_works(system: Landslide, password: str) -> bool:
    ((encoded,),) = system.query("SELECT password FROM auth_user WHERE username = %s", "admin")
    return PBKDF2PasswordHasher().verify(password, encoded)


def test_wildcard_host_prints_the_lan_address(landslide):
    system = landslide(server="daphne", env={"HOST": "0.0.0.0"})
    assert f"{READY} http://{lan_address()}:{system.port}/\n" in system.output()
    assert healthy(f"http://{lan_address()}:{system.port}")
    with urllib.request.urlopen(f"{system.url}/healthz", timeout=PATIENCE) as response:
        assert len(response.headers.get_all("Date")) == 1
    stop(system, signal.SIGINT)


def can_bind_v6() -> bool:
    try:
        web.listen("::", 0).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not can_bind_v6(), reason="no IPv6 here")
@pytest.mark.parametrize("host", ["::", "[::]", "::1", "[::1]", "0.0.0.0", ""])
def test_printed_address_is_reachable(host):
    with web.listen(host, 0) as listener:
        port = listener.getsockname()[1]
        socket.create_connection((network.display_host(host).strip("[]"), port), timeout=PATIENCE).close()
        if "1" not in host:
            socket.create_connection(("127.0.0.1", port), timeout=PATIENCE).close()


def test_port_in_use_is_reported(tmp_path, port):
    assert f"Port {port} is in use" in refused(tmp_path, PORT=str(port))


def test_pending_migrations_are_reported_with_a_hint(tmp_path):
    assert "manage.py migrate" in refused(tmp_path, "--port", "0")


def test_invalid_settings_and_options_are_refused(tmp_path):
    assert "Set VOTE_LOG to one of" in refused(tmp_path, VOTE_LOG="paper")
    assert "PORT='x' can't be read" in refused(tmp_path, PORT="x")
    assert "--web and --worker need" in refused(tmp_path, "--web", "2")


def test_unreachable_database_is_reported_without_its_password(tmp_path, port):
    nowhere = {"DATABASE_URL": "postgres://u:hunter2@127.0.0.1:1/x", "REDIS_URL": f"redis://127.0.0.1:{port}"}
    for options in ((), ("--prepare",)):
        output = refused(tmp_path, "--port", "0", *options, **nowhere)
        assert "The database doesn't answer" in output and "Traceback" not in output
        assert "hunter2" not in output


@pytest.mark.django_db(transaction=True)
def test_redis_that_may_lose_ballots_is_refused(tmp_path, start_redis, postgresql):
    weak = start_redis(appendonly="no", maxmemory_policy="allkeys-lru")
    stores = {"DATABASE_URL": postgresql.url(connection.settings_dict["NAME"]), "REDIS_URL": weak.url()}
    for advice in ("appendonly", "noeviction"):
        assert advice in refused(tmp_path, "--port", "0", **stores)
        with weak.client() as client:
            client.config_set("appendonly", "yes")  # then only the second setting is refused


def test_killed_children_restart_and_all_stop_together(landslide):
    whole = {"web": 2, "worker": 1, "beat": 1}
    system = landslide(mode="full", web=2, worker=1)
    assert {role: len(system.children(role)) for role in whole} == whole
    for role, number in whole.items():
        victim = system.children(role)[0]
        os.kill(victim, signal.SIGKILL)
        wait_for(
            lambda victim=victim, role=role, number=number: (
                victim not in system.children(role) and len(system.children(role)) == number
            ),
            what=f"another {role}",
        )
        assert healthy(system.url)  # the socket was never closed
    a_ballot_is_counted(system)
    assert_timings_of_all_processes(system)
    stop(system, signal.SIGTERM)


def assert_timings_of_all_processes(system: Landslide) -> None:
    """Check that every web process reports the figures of all web processes and of the worker."""
    for _ in range(4):
        asked = urllib.request.Request(f"{system.url}/metrics")
        asked.add_header("Authorization", f"Api-Key {system.api_key}")
        with urllib.request.urlopen(asked, timeout=PATIENCE) as response:
            text = response.read().decode()
        for name in ("accept", "append", "count"):
            assert re.search(rf"^landslide_{name}_seconds_count [1-9]", text, re.M), name


def a_ballot_is_counted(system: Landslide) -> None:
    client = Client(system)
    code = client.make_poll()
    assert client.cast(code, "somebody", [1]).status_code == 202
    assert_all_agree(system, client, code, 1)
    close_all()


def test_children_end_with_a_killed_parent(landslide):
    system = landslide(mode="full", server="daphne", web=1, worker=1)
    a_ballot_is_counted(system)
    family = {each.pid for each in system.family()}
    assert len(family) == 3
    assert system.process
    system.process.kill()
    system.process.wait()
    wait_for(lambda: not family & {each.pid for each in processes()}, what="its children to end")
