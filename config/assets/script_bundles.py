"""Join a page's ES modules into one script when static files are collected.

A page of twenty modules costs a phone twenty requests before anybody can vote. With DEBUG, and before
collectstatic has run, browsers load the separate modules. Each module becomes a function that is called once.
The functions of its imports are called first. Only the forms of import and export that our scripts use are
supported. Any other form is an error. See docs/decisions/javascript-bundling.md.
"""

import re
from collections.abc import Callable, Iterable
from posixpath import dirname, join, normpath

#: Returns a module's source. A module's name is its path below static/js, without ".js".
Read = Callable[[str], str]

_IMPORT = re.compile(r'^import (?:(\{[^{}]*\}) from )?"(\.[\w./-]+)\.js";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const) (\w+))", re.MULTILINE)
_UNKNOWN = re.compile(r"^(?:import|export)\b.*|\bimport(?:\(|\.meta)", re.MULTILINE)
_COMMENT = re.compile(r"^[ \t]*(?://[^\n]*|/\*(?:(?!\*/).)*\*/)[ \t]*\n", re.MULTILINE | re.DOTALL)


def entries(names: Iterable[str], read: Read) -> list[str]:
    """Return the modules that pages load: they import other modules, and no other module imports them."""
    imports = {name: _imports(name, read(name)) for name in names}
    imported = {other for others in imports.values() for other in others}
    return [name for name, others in imports.items() if others and name not in imported]


def joined(entry: str, read: Read) -> str:
    """Join a module and all its imports into one script; raise ValueError if that is impossible."""
    return "".join(_as_function(name, read(name)) for name in _in_order(entry, read))


def _in_order(entry: str, read: Read) -> list[str]:
    """Return the names of a module and all its imports, so that each module comes after its imports."""
    found: list[str] = []

    def visit(name: str, importers: tuple[str, ...]) -> None:
        if name in importers:
            raise ValueError(f"{name}.js imports itself, through {importers[-1]}.js.")
        if name in found:
            return
        for other in _imports(name, read(name)):
            visit(other, (*importers, name))
        found.append(name)

    visit(entry, ())
    return found


def _imports(name: str, source: str) -> list[str]:
    return [_resolve(path, name) for _, path in _IMPORT.findall(source)]


def _resolve(path: str, importer: str) -> str:
    """Return the name of the module that `importer` imports by a relative path."""
    return normpath(join(dirname(importer), path))


def _as_function(name: str, source: str) -> str:
    def variables(match: re.Match[str]) -> str:
        names, path = match.groups()
        return f"const {names.replace(' as ', ': ')} = {_variable(_resolve(path, name))};\n" if names else ""

    exports = _EXPORT.findall(source)
    body = _COMMENT.sub("", _EXPORT.sub("", _IMPORT.sub(variables, source)))
    if unknown := _UNKNOWN.search(body):
        raise ValueError(f"{name}.js: this form of import or export can't be joined: {unknown[0]!r}")
    return f"const {_variable(name)} = (() => {{\n{body}return {{ {', '.join(exports)} }};\n}})();\n"


def _variable(name: str) -> str:
    return "module_" + re.sub(r"\W", "_", name)
