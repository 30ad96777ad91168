"""A CSV file as an answer that is sent while it is made, so that a long one is never in memory as a whole."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, StreamingHttpResponse

from polls.text.csv_rows import CONTENT_TYPE


def csv_download(request: HttpRequest, pieces: Iterator[str], name: str) -> StreamingHttpResponse:
    """pieces: what the file consists of; they must need no database, since nobody closes its connection."""
    # Of an ordinary iterator Django would make a list first, if it is asked on an event loop.
    content = _in_threads(pieces) if isinstance(request, ASGIRequest) else pieces
    return StreamingHttpResponse(
        content,
        content_type=CONTENT_TYPE,
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "Cache-Control": "private, no-store",
        },
    )


async def _in_threads(pieces: Iterator[str]) -> AsyncIterator[str]:
    following = sync_to_async(lambda: next(pieces, None), thread_sensitive=False)
    while (piece := await following()) is not None:
        yield piece
