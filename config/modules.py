"""A page's scripts in one file: its ES modules joined when static files are collected.

A page of twenty modules costs a phone twenty requests before anybody can vote. The modules stay what one
writes and what browsers run as they are (with DEBUG, and until static files have been collected); there is no
tool to install and nothing to run. Each module becomes a function that is called once, after all it imports.
Only the forms of import and export that our scripts have are known; any other is an error.
See docs/decisions/javascript-bundling.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from posixpath import dirname, join, normpath, relpath

Read = Callable[[str], str]

_IMPORT = re.compile(r'^import (?:(?:(\{[^{}]*\})|\* as (\w+)) from )?"(\.[\w./-]+)\.js";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const) (\w+))", re.MULTILINE)
_LEFT_OVER = re.compile(r"^(?:import|export)\b.*|\bimport(?:\(|\.meta)", re.MULTILINE)
_COMMENT = re.compile(r"^[ \t]*(?://[^\n]*|/\*(?:(?!\*/).)*\*/)[ \t]*\n", re.MULTILINE | re.DOTALL)


def joined(entry: str, read: Read, apart: Collection[str] = ()) -> str:
    """The module `entry` with all that it imports, but for those `apart`, which other scripts import as well.

    read: gives a module's source by its path from the folder of all scripts, without its ending.
    """
    sources = {name: read(name) for name in _in_order(entry, read, apart)}
    needed = {other for name, source in sources.items() for other in _imports(name, source)} & set(apart)
    imports = [f'import * as {_variable(name)} from "{_address(name, entry)}";\n' for name in sorted(needed)]
    return "".join([*imports, *(_as_function(name, source) for name, source in sources.items())])


def _in_order(entry: str, read: Read, apart: Collection[str]) -> list[str]:
    """The modules of an entry, each behind those that it imports. ValueError for a circle."""
    found: list[str] = []

    def visit(name: str, above: tuple[str, ...]) -> None:
        if name in above:
            raise ValueError(f"{name}.js imports itself, by way of {above[-1]}.js.")
        if name in apart or name in found:
            return
        for other in _imports(name, read(name)):
            visit(other, (*above, name))
        found.append(name)

    visit(entry, ())
    return found


def _imports(name: str, source: str) -> list[str]:
    return [_path(address, name) for *_, address in _IMPORT.findall(source)]


def _path(address: str, importer: str) -> str:
    """The path of what a module imports under this address, which begins at its own folder."""
    return normpath(join(dirname(importer), address))


def _address(name: str, importer: str) -> str:
    found = relpath(name, dirname(importer) or ".")
    return f"{found if found.startswith('.') else f'./{found}'}.js"


def _as_function(name: str, source: str) -> str:
    exports = _EXPORT.findall(source)
    taken = _IMPORT.sub(lambda match: _taken(match, name), source)
    body = _COMMENT.sub("", _EXPORT.sub("", taken))
    if found := _LEFT_OVER.search(body):
        raise ValueError(f"{name}.js: this form of import or export can't be joined: {found[0]!r}")
    return f"const {_variable(name)} = (() => {{\n{body}return {{ {', '.join(exports)} }};\n}})();\n"


def _taken(match: re.Match[str], importer: str) -> str:
    """In the place of an import: what is needed, from the function's result."""
    names, whole, address = match.groups()
    if not (names or whole):
        return ""  # for what it does, which is done by now
    return f"const {whole or names.replace(' as ', ': ')} = {_variable(_path(address, importer))};\n"


def _variable(name: str) -> str:
    return "module_" + re.sub(r"\W", "_", name)
