"""The steps of docs/first-poll.md in a browser, for the test and for `make pictures`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from playwright.sync_api import Page, expect

from tests.e2e.clients import Client

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True}
DESK = {"viewport": {"width": 1280, "height": 800}}
QUESTION = "Where do we go for lunch?"
CHOICES = ["Noodle bar", "Pizzeria", "Market hall", "Salad bar"]
#: The other voters' votes by choice number. The two phones vote for choices 1 and 2.
ROOM = {1: 11, 2: 8, 3: 14, 4: 3}


@dataclass
class FirstPoll:
    """The steps from the first sign-in to a published result.

    `show` is called with the name and the page of each picture, in order.
    """

    url: str
    password: str
    client: Client  # casts the other voters' ballots
    desk: Page  # the organiser's browser
    screen: Page  # the projector's browser
    phones: tuple[Page, Page]
    show: Callable[[str, Page], None]
    code: str = ""

    def walk(self) -> None:
        self.sign_in()
        self.write_the_poll()
        self.open_voting()
        self.vote()
        self.watch()
        self.close_voting()
        self.publish()
        self.check_the_result()

    def sign_in(self) -> None:
        self.desk.goto(self.url)
        self.desk.get_by_role("link", name="For organisers").click()
        self.desk.fill("#id_username", "admin")
        self.desk.fill("#id_password", self.password)
        self.desk.keyboard.press("Enter")
        expect(self.desk.locator("[data-card=backlog]")).to_have_attribute("data-tone", "good")
        expect(self.desk.locator("[data-list=workers] li").first).to_contain_text("alive")
        self.show("overview", self.desk)

    def write_the_poll(self) -> None:
        self.desk.get_by_role("link", name="New poll").click()
        self.desk.fill("#id_question", QUESTION)
        self.desk.fill("#id_labels_1", CHOICES[0])
        for label in CHOICES[1:]:
            self.desk.keyboard.press("Enter")  # moves to the next row, which is added if missing
            self.desk.keyboard.type(label)
        self.show("new-poll", self.desk)
        self.desk.get_by_role("button", name="Save", exact=True).click()
        expect(self.desk.locator("[aria-current=step]")).to_have_text("Draft")
        self.code = self.desk.locator(".ls-code").inner_text()
        self.show("draft", self.desk)

    def open_voting(self) -> None:
        self.screen.goto(f"{self.url}/p/{self.code}/present/")
        expect(self.screen.locator("#scan")).to_have_text("Scan to join")
        self.press("Open voting", picture="open")
        expect(self.desk.locator("[aria-current=step]")).to_have_text("Open")
        expect(self.screen.locator("#scan")).to_have_text("Scan to vote")
        expect(self.screen.locator("#status")).to_have_attribute("data-status", "live")
        self.show("presenter-empty", self.screen)

    def vote(self) -> None:
        for number, phone in enumerate(self.phones):
            phone.goto(self.url)
            phone.get_by_label("Poll code or link").fill(self.code)
            phone.get_by_role("button", name="Join the poll").click()
            phone.locator("label.choice", has_text=CHOICES[number]).click()
            cast = phone.get_by_role("button", name="Cast my ballot")
            expect(cast).to_have_attribute("aria-disabled", "false")
            if not number:
                self.show("phone-marked", phone)
            cast.click()
            expect(phone.locator("#cast-title")).to_have_text("Your ballot is in")

    def watch(self) -> None:
        marks = [choice for choice, votes in ROOM.items() for _ in range(votes)]
        ballots = [{"selections": [mark], "voter": f"seat-{seat}"} for seat, mark in enumerate(marks)]
        outcomes = self.client.cast_batch(self.code, ballots)
        assert all(outcome["status"] == "accepted" for outcome in outcomes)
        total = f"{len(marks) + len(self.phones)}"
        expect(self.screen.locator("#ballots b")).to_have_text(total)
        expect(self.phones[0].locator("#totals")).to_contain_text(f"{total} ballots")
        expect(self.desk.locator("#poll-tally .ls-total")).to_have_text(f"{total} ballots")
        self.show("phone-voted", self.phones[0])
        self.show("presenter", self.screen)

    def close_voting(self) -> None:
        self.press("Close voting")
        expect(self.desk.get_by_role("button", name="Publish the result")).to_be_visible()

    def publish(self) -> None:
        self.press("Publish the result")
        expect(self.desk.locator("[aria-current=step]")).to_have_text("Published")
        expect(self.desk.locator("#poll-tally tbody tr").first).to_contain_text("Winner")
        expect(self.screen.locator("#state")).to_contain_text("Official result")
        self.show("published", self.desk)

    def check_the_result(self) -> None:
        phone = self.phones[0]
        phone.get_by_role("link", name="Results").click()
        expect(phone.locator("#status")).to_have_attribute("data-status", "live")
        expect(phone.locator("main")).to_contain_text("Official result")
        self.show("phone-result", phone)
        phone.goto(f"{self.url}/p/{self.code}/receipt/")
        expect(phone.locator("#receipt")).to_have_value(re.compile(r"^\S{72}$"))
        phone.get_by_role("button", name="Check it").click()
        expect(phone.locator(".verdict-title")).to_have_text("Counted")
        self.show("phone-receipt", phone)

    def press(self, name: str, picture: str = "") -> None:
        """Press a button of the poll's page, and the same button on the confirmation page."""
        self.desk.get_by_role("button", name=name).click()
        expect(self.desk.locator(".ls-lines")).to_be_visible()
        if picture:
            self.show(picture, self.desk)
        self.desk.get_by_role("button", name=name).click()
