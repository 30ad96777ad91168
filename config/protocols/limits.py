"""Limits for requests, on every server: their time and size, and the responses when a limit is exceeded.

A client may send nothing, or a request byte by byte (slowloris). One such connection costs little, but an
attacker can open thousands.
"""

#: The maximum time from the opening of a connection to its first byte. The keep-alive timeout is the same.
FIRST_BYTE_SECONDS = 30.0
#: The maximum time from the first byte of a request to the end of its headers. deploy/nginx.conf has the same
#: limit.
HEAD_SECONDS = 10.0
#: The longest pause within a body.
BODY_PAUSE_SECONDS = 10.0
#: The longest time for a whole body: enough for a large batch on a slow line.
BODY_SECONDS = 120.0
HEAD_BYTES = 64 * 1024

_EMPTY = b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
TIMEOUT = b"HTTP/1.1 408 Request Timeout" + _EMPTY
BODY_TOO_LARGE = b"HTTP/1.1 413 Content Too Large" + _EMPTY
HEAD_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large" + _EMPTY
