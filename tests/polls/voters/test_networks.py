"""Networks as people write them: normalized, or refused with a sentence."""

import pytest

from polls.voters.networks import canonical_networks


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("198.51.100.0/24", "198.51.100.0/24"),
        (" 198.51.100.77/24 ", "198.51.100.0/24"),
        ("198.51.100.7", "198.51.100.7/32"),
        ("198.51.100.0/255.255.255.0", "198.51.100.0/24"),
        ("2001:DB8:0:0::1/48", "2001:db8::/48"),
        ("::1", "::1/128"),
        ("::ffff:198.51.100.0/120", "198.51.100.0/24"),
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("fc00::/16", "fc00::/16"),
    ],
)
def test_networks_are_normalized(text: str, network: str) -> None:
    assert canonical_networks([text, network]) == [network]
    assert canonical_networks(canonical_networks([text])) == [network]


@pytest.mark.parametrize(
    "text",
    ["", "hall", "198.51.100", "198.51.100.0/33", "198.051.100.0/24", "1.2.3.4:80", "[::1]", "fe80::1%eth0",
     "0.0.0.0/0", "8.0.0.0/7", "::/0", "2001::/15", "198.51.100.0/24, 10.0.0.0/8", "\0", "é"],
)  # fmt: skip
def test_an_invalid_network_is_named_in_the_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"no network|too wide") as refused:
        canonical_networks(["10.0.0.0/8", text])
    assert text.strip()[:20] in str(refused.value)


def test_duplicates_are_removed_in_order() -> None:
    assert canonical_networks(["10.2.0.0/16", "10.1.0.0/16", "10.2.3.4/16"]) == ["10.2.0.0/16", "10.1.0.0/16"]


def test_the_number_of_networks_is_limited() -> None:
    assert len(canonical_networks(f"10.0.{n}.0/24" for n in range(100))) == 100
    with pytest.raises(ValueError, match="100"):
        canonical_networks(f"10.0.{n}.0/24" for n in range(101))
