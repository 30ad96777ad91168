"""The private names of uvicorn: all that we use are listed, and a uvicorn without one of them isn't used."""

import ast
import asyncio
import re
import sys
from importlib import import_module
from pathlib import Path
from types import FunctionType

import pytest
from django.utils.module_loading import import_string

from config.protocols.uvicorn import connection, http_framing, read_timeouts
from config.protocols.uvicorn.private_names import REQUIRED, is_supported
from config.serving import web
from tests.system import ROOT

HTTP = "uvicorn.protocols.http.httptools_impl.HttpToolsProtocol"
#: How our classes reach each class of uvicorn.
REACHED_BY = {
    "self": HTTP,
    "super()": HTTP,
    "cycle": "uvicorn.protocols.http.httptools_impl.RequestResponseCycle",
    "self.cycle": "uvicorn.protocols.http.httptools_impl.RequestResponseCycle",
    "self.active_cycle": "uvicorn.protocols.http.httptools_impl.RequestResponseCycle",
    "self.flow": "uvicorn.protocols.http.flow_control.FlowControl",
    "self.server_state": "uvicorn.server.ServerState",
    "self.config": "uvicorn.config.Config",
}


#: Stand-ins for the functions that serve, since importing Daphne would install a reactor.
UVICORN, DAPHNE = import_string("json.loads"), import_string("json.dumps")


@pytest.fixture(autouse=True)
def _servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "SERVERS", {"uvicorn": "json.loads", "daphne": "json.dumps"})


def trees() -> list[ast.Module]:
    return [
        ast.parse(Path(each.__file__ or "").read_text()) for each in (http_framing, read_timeouts, connection)
    ]


def defined_by_us(tree: ast.Module) -> set[str]:
    """Return the names that our classes define, including methods that override uvicorn's."""
    found: set[str] = set()
    for body in (node.body for node in tree.body if isinstance(node, ast.ClassDef)):
        for each in body:
            if isinstance(each, ast.FunctionDef):
                found.add(each.name)
            targets = each.targets if isinstance(each, ast.Assign) else [getattr(each, "target", None)]
            found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


def test_every_name_that_we_use_is_required() -> None:
    ours = set().union(*map(defined_by_us, trees()))
    public = set(dir(asyncio.Protocol))
    # Overriding a method of uvicorn uses its name too.
    used = {(HTTP, name) for name in (ours - public) & set(dir(import_string(HTTP)))}
    for node in (node for tree in trees() for node in ast.walk(tree) if isinstance(node, ast.Attribute)):
        path = REACHED_BY.get(ast.unparse(node.value))
        if path is not None and (path != HTTP or node.attr not in ours | public):
            used.add((path, node.attr))
    assert used == {(path, name) for path, names in REQUIRED.items() for name in names}


def test_the_pinned_uvicorn_is_supported() -> None:
    assert is_supported()
    assert web.runner("uvicorn") is UVICORN


def remove(monkeypatch: pytest.MonkeyPatch, base: type, name: str) -> None:
    """Remove a method from a class of uvicorn, or rename an attribute, as a later release might do."""
    if hasattr(base, name):
        monkeypatch.delattr(base, name)
        return
    for method in [value for value in vars(base).values() if isinstance(value, FunctionType)]:
        code = method.__code__
        names = tuple(f"{each}_renamed" if each == name else each for each in code.co_names)
        monkeypatch.setattr(method, "__code__", code.replace(co_names=names))


@pytest.mark.parametrize(
    ("path", "name"),
    [(path, name) for path, names in REQUIRED.items() for name in names],
    ids=lambda text: text.rpartition(".")[2],
)
def test_daphne_serves_if_uvicorn_lacks_a_name(
    path: str, name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patched:
        remove(patched, import_string(path), name)
        assert not is_supported()
        assert web.runner("uvicorn") is DAPHNE
    assert "uvicorn_unknown" in caplog.text
    assert is_supported()


@pytest.mark.parametrize("path", REQUIRED)
def test_daphne_serves_if_uvicorn_lacks_a_class(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, _, name = path.rpartition(".")
    monkeypatch.delattr(import_module(module), name)
    assert web.runner("uvicorn") is DAPHNE


def test_daphne_serves_if_uvicorn_lacks_a_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn.protocols.http.flow_control", None)
    assert web.runner("uvicorn") is DAPHNE


def test_only_this_package_knows_uvicorn() -> None:
    """on_uvicorn.py uses its public API: Config and Server."""
    files = (
        path for app in ("config", "polls", "analytics", "realtime") for path in (ROOT / app).rglob("*.py")
    )
    found = {path for path in files if re.search(r"^(import|from) uvicorn\b", path.read_text(), re.M)}
    found -= {ROOT / "config/serving/on_uvicorn.py"}
    assert {path.parent for path in found} == {ROOT / "config/protocols/uvicorn"}
