"""Ways for a page to come, for the tests of every door: the scheme of the connection, what the proxy says of
the request (X-Forwarded-Proto), the page's Origin at the host `testserver`, and whether it is ours."""

WAYS: list[tuple[str, bytes | None, bytes, bool]] = [
    ("http", None, b"http://testserver", True),
    ("http", None, b"https://testserver", False),
    ("https", None, b"https://testserver", True),
    ("https", None, b"http://testserver", False),
    ("http", b"https", b"https://testserver", True),
    ("http", b"https", b"http://testserver", False),
    ("http", b"http", b"https://testserver", False),
    ("http", None, b"", False),
    ("https", b"https", b"", False),
    ("http", None, b"null", False),
]


def way_headers(told: bytes | None, origin: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"origin", origin), *([] if told is None else [(b"x-forwarded-proto", told)])]
