"""Cases of the origin rule, for every lane and connection that a browser can use.

Each case: the connection's scheme, the proxy's X-Forwarded-Proto, the page's Origin, and whether it is
allowed at the host `testserver`.
"""

ORIGIN_CASES: list[tuple[str, bytes | None, bytes, bool]] = [
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


def origin_headers(told: bytes | None, origin: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"origin", origin), *([] if told is None else [(b"x-forwarded-proto", told)])]
