"""Draw docs/images/packages.svg, the packages and their imports: `python -m tests.docs.packages`."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grimp

from tests.system import ROOT

PICTURE = ROOT / "docs" / "images" / "packages.svg"
WIDTH, MARGIN, TITLE, ROW, BOX, GAP = 1040, 16, 10, 58, 32, 12
LETTER = 7.4  # average width of a letter at 13 px

STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1d1d24 } .app { font-weight: 600; font-size: 15px }
.floor { fill: #f3f2f7 } .package { fill: #fff; stroke: #6b63b5 } line { stroke: #a9a5c4; stroke-width: 1.2 }
.file { stroke-dasharray: 3 2 }
@media (prefers-color-scheme: dark) { text { fill: #ecebf5 } .floor { fill: #1b1a22 }
  .package { fill: #2a2834; stroke: #9d96e8 } line { stroke: #66627f } svg { background: #121117 } }
"""


@dataclass(frozen=True)
class Package:
    app: str
    name: str

    @property
    def module(self) -> str:
        return f"{self.app}.{self.name}"

    @property
    def place(self) -> Path:
        return ROOT / self.app / self.name

    @property
    def label(self) -> str:
        return f"{self.name}/" if self.place.is_dir() else f"{self.name}.py"

    @property
    def width(self) -> float:
        return len(self.label) * LETTER + 20


def main() -> None:
    PICTURE.write_text(draw())


def draw() -> str:
    """Return the SVG: a band for each app, a row for each layer, a line for each import within an app.

    Apps and layers come from import-linter's contracts, imports from the code. If a imports b and b imports
    c, the line from a to c is left out.
    """
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = {contract["id"]: contract for contract in contracts}
    graph = grimp.build_graph(*layers["floors"]["layers"], cache_dir=None)
    y, bands = float(MARGIN), []
    for app in layers["floors"]["layers"]:
        rows = [
            [Package(app, name) for name in row.replace(":", "|").replace(" ", "").split("|")]
            for row in layers[app]["layers"]
        ]
        rows = [part for row in rows for part in fitting(row)]
        bands.append(_band(app, rows, edges(graph, [package for row in rows for package in row]), y))
        y += TITLE + len(rows) * ROW + MARGIN
    size = f'viewBox="0 0 {WIDTH} {y:.0f}" width="{WIDTH}" height="{y:.0f}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size}>'
    title = "<title>The packages of Landslide: each imports only from below</title>"
    return f"{head}{title}<style>{STYLE}</style>\n{''.join(bands)}</svg>\n"


def fitting(row: list[Package]) -> Iterator[list[Package]]:
    """Break a row that is too long for the picture."""
    part: list[Package] = []
    for package in row:
        if part and sum(each.width + GAP for each in [*part, package]) > WIDTH - 4 * MARGIN:
            yield part
            part = []
        part.append(package)
    yield part


def edges(graph: grimp.ImportGraph, packages: list[Package]) -> set[tuple[Package, Package]]:
    """Return the imports between packages, without those that other imports imply."""
    owner = {
        module: package
        for package in packages
        for module in {package.module, *graph.find_descendants(package.module)}
    }
    below: dict[Package, set[Package]] = {package: set() for package in packages}
    for module, package in owner.items():
        for imported in graph.find_modules_directly_imported_by(module):
            if imported in owner and owner[imported] != package:
                below[package].add(owner[imported])

    def reached(package: Package) -> set[Package]:
        return below[package].union(*map(reached, below[package]))

    return {
        (package, other)
        for package, others in below.items()
        for other in others
        if not any(other in reached(between) for between in others)
    }


def _band(app: str, rows: list[list[Package]], lines: set[tuple[Package, Package]], top: float) -> str:
    height = TITLE + len(rows) * ROW
    out = [
        f'<rect class="floor" x="{MARGIN}" y="{top:.0f}" width="{WIDTH - 2 * MARGIN}" height="{height}"'
        ' rx="10"/>\n',
        f'<text class="app" x="{2 * MARGIN}" y="{top + 22:.0f}">{app}/</text>\n',
    ]
    boxes: dict[Package, tuple[float, float]] = {}  # the middle of each box's upper edge
    for index, row in enumerate(rows):
        share = (WIDTH - 4 * MARGIN) / len(row)
        for place, package in enumerate(row):
            x = 2 * MARGIN + share * (place + 0.5)
            boxes[package] = (x, top + TITLE + index * ROW + (ROW - BOX) / 2)
    for package, other in sorted(lines, key=lambda line: (line[0].name, line[1].name)):
        (x1, y1), (x2, y2) = boxes[package], boxes[other]
        out.append(f'<line x1="{x1:.0f}" y1="{y1 + BOX:.0f}" x2="{x2:.0f}" y2="{y2:.0f}"/>\n')
    out += [_box(package, *place) for package, place in boxes.items()]
    return "".join(out)


def _box(package: Package, x: float, y: float) -> str:
    kind = "package" if package.place.is_dir() else "package file"
    return (
        f'<rect class="{kind}" x="{x - package.width / 2:.0f}" y="{y:.0f}" width="{package.width:.0f}"'
        f' height="{BOX}" rx="6"/>'
        f'<text x="{x:.0f}" y="{y + 21:.0f}" text-anchor="middle">{package.label}</text>\n'
    )


if __name__ == "__main__":
    main()
