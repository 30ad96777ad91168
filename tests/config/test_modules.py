"""Modules joined into one script: in order, each once, and refused where that can't be done."""

import pytest

from config.modules import joined

SOURCES = {
    "entry": '/** The page. */\n\nimport { add, twice as double } from "./sums.js";\nimport "./effect.js";\n'
    'import * as clock from "./time-of.js";\n\nadd(double(1), clock.now());\n',
    "sums": 'import { now } from "./time-of.js";\n\nexport const ONE = 1;\n\n'
    "  // Said once.\nexport function add(a, b) {\n  return a + b; // and not here\n}\n"
    "export async function twice(a) {}\nexport class Sum {}\nfunction own() {}\n",
    "time-of": "/* Several\n * lines. */\nexport const now = () => 0;\n",
    "effect": 'import { now } from "./time-of.js";\n\nnow();\n',
}


def join(entry: str = "entry", apart: tuple[str, ...] = (), **changed: str) -> str:
    return joined(entry, (SOURCES | changed).__getitem__, apart)


def test_each_module_is_a_function_behind_those_that_it_imports() -> None:
    assert join() == (
        "const module_time_of = (() => {\nconst now = () => 0;\nreturn { now };\n})();\n"
        "const module_sums = (() => {\nconst { now } = module_time_of;\n\nconst ONE = 1;\n\n"
        "function add(a, b) {\n  return a + b; // and not here\n}\nasync function twice(a) {}\nclass Sum {}\n"
        "function own() {}\nreturn { ONE, add, twice, Sum };\n})();\n"
        "const module_effect = (() => {\nconst { now } = module_time_of;\n\nnow();\nreturn {  };\n})();\n"
        "const module_entry = (() => {\n\nconst { add, twice: double } = module_sums;\n"
        "const clock = module_time_of;\n\nadd(double(1), clock.now());\nreturn {  };\n})();\n"
    )


def test_a_script_that_runs_by_itself_stays_apart() -> None:
    text = join(apart=("time-of",))
    assert text.startswith('import * as module_time_of from "./time-of.js";\nconst module_sums')
    assert text.count("time-of.js") == 1
    assert "=> 0" not in text


def test_modules_are_found_from_the_folder_of_their_importer() -> None:
    sources = {
        "page/entry": 'import { now } from "../text/now.js";\nimport "./own-part.js";\nimport "../a.js";\n',
        "page/own-part": 'import "../text/now.js";\n',
        "text/now": "export const now = () => 0;\n",
        "a": "",
    }
    assert joined("page/entry", sources.__getitem__, ["a"]) == (
        'import * as module_a from "../a.js";\n'
        "const module_text_now = (() => {\nconst now = () => 0;\nreturn { now };\n})();\n"
        "const module_page_own_part = (() => {\nreturn {  };\n})();\n"
        "const module_page_entry = (() => {\nconst { now } = module_text_now;\nreturn {  };\n})();\n"
    )


@pytest.mark.parametrize(
    "source",
    [
        "export default 1;\n",
        "export let a = 1;\n",
        "export { a };\n",
        'export * from "./sums.js";\n',
        'import sums from "./sums.js";\n',
        'import { a } from "./sums.js"; a();\n',
        'import { a } from "/elsewhere.js";\n',
        'const sums = await import("./sums.js");\n',
        "const here = import.meta.url;\n",
    ],
)
def test_what_it_does_not_know_it_refuses(source: str) -> None:
    with pytest.raises(ValueError, match="effect"):
        join(effect=source)


def test_circles_are_refused() -> None:
    with pytest.raises(ValueError, match="imports itself"):
        join(**{"time-of": 'import "./sums.js";\n'})
