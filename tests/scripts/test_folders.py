"""Folders of scripts import in one direction."""

import re

from tests.polls.public_pages import SCRIPTS

#: In the order of static/js/README.md: a folder imports only from the folders after it.
FOLDERS = ["vote", "screens", "admin", "proof", "methods", "page", "text", "live"]


def test_folders_of_scripts_import_from_those_below_them() -> None:
    pages = {"vote", "screens", "admin"}
    for path in SCRIPTS.rglob("*.js"):
        folder = path.parent.name
        for other in re.findall(r'from "\.\./(\w+)/', path.read_text()):
            below = FOLDERS.index(other) > FOLDERS.index(folder) and other not in pages
            assert below, f"{path.name} imports from {other}/"
