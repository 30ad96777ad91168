"""The texts that pages hand to their scripts: complete, all used, with plurals."""

import re

import pytest
from django.utils.translation import ngettext

from polls.pages.script_messages import COMMON, VOTE, catalogue
from realtime.pages.script_messages import PRESENT, RESULTS
from tests.polls.public_pages import SCRIPTS, imports

pytestmark = pytest.mark.full_only


@pytest.mark.parametrize(
    ("script", "texts"),
    [
        ("vote/vote", (COMMON, VOTE)),
        ("screens/results", (COMMON, RESULTS)),
        ("screens/present", (COMMON, PRESENT)),
    ],
)
def test_every_text_of_a_script_is_in_its_page(script: str, texts: tuple[dict, ...]) -> None:
    known = set(catalogue(*texts))
    for name in {script, *imports(script)}:
        source = (SCRIPTS / f"{name}.js").read_text()
        said = re.findall(r"\btext\(\s*\"(\w+)\"", source) + re.findall(r"\bkey: \"(\w+)\"", source)
        assert set(said) <= known, name


def test_no_text_is_unused() -> None:
    scripts = "\n".join(path.read_text() for path in SCRIPTS.rglob("*.js"))
    known = catalogue(COMMON, VOTE, RESULTS, PRESENT)
    assert [key for key in known if f'"{key}"' not in scripts] == []


def test_plurals_are_by_category() -> None:
    texts = catalogue({"ballots": lambda n: ngettext("%(count)s ballot", "%(count)s ballots", n)})
    assert texts == {"ballots": {"one": "%(count)s ballot", "other": "%(count)s ballots"}}
