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

Read = Callable[[str], str]

_IMPORT = re.compile(r'^import (?:(?:(\{[^{}]*\})|\* as (\w+)) from )?"\./([\w-]+)\.js";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const) (\w+))", re.MULTILINE)
_LEFT_OVER = re.compile(r"^(?:import|export)\b.*|\bimport(?:\(|\.meta)", re.MULTILINE)
_COMMENT = re.compile(r"^[ \t]*(?://[^\n]*|/\*(?:(?!\*/).)*\*/)[ \t]*\n", re.MULTILINE | re.DOTALL)


def joined(entry: str, read: Read, apart: Collection[str] = ()) -> str:
    """The module `entry` with all that it imports, but for those `apart`, which other scripts import as well.

    read: gives a module's source by its name, without its ending.
    """
    sources = {name: read(name) for name in _in_order(entry, read, apart)}
    needed = {other for source in sources.values() for other in _imports(source)} & set(apart)
    imports = [f'import * as {_variable(name)} from "./{name}.js";\n' for name in sorted(needed)]
    return "".join([*imports, *(_as_function(name, source) for name, source in sources.items())])


def _in_order(entry: str, read: Read, apart: Collection[str]) -> list[str]:
    """The modules of an entry, each behind those that it imports. ValueError for a circle."""
    found: list[str] = []

    def visit(name: str, above: tuple[str, ...]) -> None:
        if name in above:
            raise ValueError(f"{name}.js imports itself, by way of {above[-1]}.js.")
        if name in apart or name in found:
            return
        for other in _imports(read(name)):
            visit(other, (*above, name))
        found.append(name)

    visit(entry, ())
    return found


def _imports(source: str) -> list[str]:
    return [name for *_, name in _IMPORT.findall(source)]


def _as_function(name: str, source: str) -> str:
    exports = _EXPORT.findall(source)
    body = _COMMENT.sub("", _EXPORT.sub("", _IMPORT.sub(_taken, source)))
    if found := _LEFT_OVER.search(body):
        raise ValueError(f"{name}.js: this form of import or export can't be joined: {found[0]!r}")
    return f"const {_variable(name)} = (() => {{\n{body}return {{ {', '.join(exports)} }};\n}})();\n"


def _taken(match: re.Match[str]) -> str:
    """In the place of an import: what is needed, from the function's result."""
    names, whole, module = match.groups()
    if not (names or whole):
        return ""  # for what it does, which is done by now
    return f"const {whole or names.replace(' as ', ': ')} = {_variable(module)};\n"


def _variable(name: str) -> str:
    return f"module_{name.replace('-', '_')}"
