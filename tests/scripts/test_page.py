"""static/js/page and the admin's overview: texts and announcements."""

import pytest

from tests.scripts.running import Run

pytestmark = pytest.mark.full_only


COUNTDOWN = """({ setTextWithCountdown }) => {
    const node = document.createElement("p");
    const said = [];
    for (const time of ["0:03", "0:02", "0:01"]) {
        setTextWithCountdown(node, `Closes in ${time}`, time);
        said.push(node.textContent);
        node.firstChild.textContent = "Schließt in ";
        if (time === "0:02") node.innerHTML = "Schließt in 0:02"; // all of it
    }
    return said;
}"""


def test_a_countdown_continues_on_a_translated_page(run: Run) -> None:
    assert run("page/set-text.js", COUNTDOWN) == ["Closes in 0:03", "Schließt in 0:02", "Closes in 0:01"]


FLAPPING = """({ showStatus }) => {
    const [pill, said] = ["status", "status-said"].map((id) => {
        const node = document.body.appendChild(document.createElement("span"));
        node.id = id;
        return node;
    });
    const [realTimeout, realNow] = [window.setTimeout, performance.now];
    let [time, timers, heard] = [0, [], []];
    window.setTimeout = (call, wait) => timers.push({ call, at: time + wait });
    performance.now = () => time;
    try {
        for (; time <= 40000; time += 500) {
            showStatus(pill, time % 1000 ? "reconnecting" : "live");
            for (const timer of timers.splice(0)) timer.at <= time ? timer.call() : timers.push(timer);
            if (said.textContent !== (heard.at(-1) ?? "")) heard.push(said.textContent);
        }
    } finally {
        [window.setTimeout, performance.now] = [realTimeout, realNow];
        pill.remove();
        said.remove();
    }
    return heard;
}"""


def test_a_flapping_connection_is_announced_at_most_every_ten_seconds(run: Run) -> None:
    heard = run("page/connection-status.js", FLAPPING)
    assert 1 <= len(heard) <= 5


LOST = """async (_, lost) => {
    document.body.innerHTML = `<div id="overview" data-url="/no-json"><p data-alarms></p></div>`;
    document.getElementById("overview").dataset.lost = lost;
    const alarms = document.querySelector("[data-alarms]");
    const observe = (resolve) => new MutationObserver(resolve).observe(alarms, { childList: true });
    const drawn = new Promise(observe);
    await import("/js/admin/overview.js");
    await drawn;
    return [...alarms.children].map((line) => [line.className, line.textContent]);
}"""


def test_the_overview_says_that_its_figures_are_old(run: Run) -> None:
    lost = "We can't reach the server."
    assert run("page/set-text.js", LOST, lost) == [["ls-bad", lost]]
