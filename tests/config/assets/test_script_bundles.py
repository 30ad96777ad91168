"""Join modules into one script: each once, after its imports. Circular imports are refused."""

import pytest

from config.assets.script_bundles import entries, joined

SOURCES = {
    "page/entry": '/** The page. */\n\nimport { add, twice as double } from "../text/sums.js";\n'
    'import "./effect.js";\n\nadd(double(1));\n',
    "page/effect": 'import { now } from "../text/time-of.js";\n\nnow();\n',
    "text/sums": 'import { now } from "./time-of.js";\n\nexport const ONE = 1;\n\n'
    "  // A comment on a line of its own.\nexport function add(a, b) {\n  return a + b; // not here\n}\n"
    "export async function twice(a) {}\nexport class Sum {}\nfunction own() {}\n",
    "text/time-of": "/* Several\n * lines. */\nexport const now = () => 0;\n",
}


def test_each_module_is_a_function_after_those_that_it_imports() -> None:
    assert joined("page/entry", SOURCES.__getitem__) == (
        "const module_text_time_of = (() => {\nconst now = () => 0;\nreturn { now };\n})();\n"
        "const module_text_sums = (() => {\nconst { now } = module_text_time_of;\n\nconst ONE = 1;\n\n"
        "function add(a, b) {\n  return a + b; // not here\n}\nasync function twice(a) {}\nclass Sum {}\n"
        "function own() {}\nreturn { ONE, add, twice, Sum };\n})();\n"
        "const module_page_effect = (() => {\nconst { now } = module_text_time_of;\n\nnow();\nreturn {  };\n"
        "})();\n"
        "const module_page_entry = (() => {\n\nconst { add, twice: double } = module_text_sums;\n"
        "\nadd(double(1));\nreturn {  };\n})();\n"
    )


def test_entries_import_others_and_are_imported_by_none() -> None:
    alone = {"page/alone": "document.body.hidden = false;\n"}
    assert entries(SOURCES | alone, (SOURCES | alone).__getitem__) == ["page/entry"]


@pytest.mark.parametrize(
    "source",
    [
        "export default 1;\n",
        "export let a = 1;\n",
        "export { a };\n",
        'export * from "../text/sums.js";\n',
        'import sums from "../text/sums.js";\n',
        'import * as sums from "../text/sums.js";\n',
        'import { a } from "../text/sums.js"; a();\n',
        'import { a } from "/elsewhere.js";\n',
        'const sums = await import("../text/sums.js");\n',
        "const here = import.meta.url;\n",
    ],
)
def test_unknown_forms_of_import_and_export_are_refused(source: str) -> None:
    with pytest.raises(ValueError, match="effect"):
        joined("page/entry", (SOURCES | {"page/effect": source}).__getitem__)


def test_circular_imports_are_refused() -> None:
    with pytest.raises(ValueError, match="imports itself"):
        joined("page/effect", {"page/effect": 'import "./effect.js";\n'}.__getitem__)
