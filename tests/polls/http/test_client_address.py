"""The client's address, and which proxies are trusted to tell it."""

from typing import Any

import pytest

from polls.http.client_address import client_address


@pytest.mark.parametrize(
    ("proxies", "peer", "forwarded", "address"),
    [
        ([], "203.0.113.7", None, "203.0.113.7"),
        ([], "203.0.113.7", "198.51.100.1", "203.0.113.7"),
        (["192.0.2.1"], "192.0.2.1", "198.51.100.1", "198.51.100.1"),
        (["192.0.2.1"], "192.0.2.2", "198.51.100.1", "192.0.2.2"),
        # The client's own entries come before the one that our proxy adds.
        (["192.0.2.1"], "192.0.2.1", "127.0.0.1, 198.51.100.1", "198.51.100.1"),
        (["192.0.2.0/24"], "192.0.2.1", "198.51.100.1, 192.0.2.9", "198.51.100.1"),
        (["192.0.2.1"], "192.0.2.1", "198.51.100.1, rubbish", "192.0.2.1"),
        (["192.0.2.1"], "192.0.2.1", "[2001:db8::1]:4711", "2001:db8::1"),
        (["192.0.2.1"], "192.0.2.1", "198.51.100.1:4711", "198.51.100.1"),
        (["192.0.2.1"], "::ffff:192.0.2.1", "198.51.100.1", "198.51.100.1"),
        (["192.0.2.1"], "192.0.2.1", "", "192.0.2.1"),
        (["*"], "192.0.2.1", "198.51.100.1", "198.51.100.1"),
        # A text that isn't an address ends the chain, and so does an absurdly long chain.
        (["192.0.2.1"], "192.0.2.1", "9" * 60_000, "192.0.2.1"),
        (["192.0.2.1"], "192.0.2.1", "127.0.0.1," * 6000 + "198.51.100.1", "198.51.100.1"),
        (["*"], "192.0.2.1", "203.0.113.7," + ",".join(["198.51.100.1"] * 60), "198.51.100.1"),
        ([], None, None, ""),
        ([], "not an address", None, ""),
    ],
)
def test_the_header_is_believed_from_trusted_proxies_only(
    settings: Any, proxies: list[str], peer: str | None, forwarded: str | None, address: str
) -> None:
    settings.TRUSTED_PROXIES = proxies
    assert client_address(peer, forwarded) == address
