"""CSV responses that are streamed, so that a long file is never in memory as a whole."""

from collections.abc import AsyncIterator, Iterator

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, StreamingHttpResponse

from polls.text.csv_rows import CONTENT_TYPE


def csv_download(request: HttpRequest, pieces: Iterator[str], name: str) -> StreamingHttpResponse:
    """Stream `pieces` as a file. `pieces` must not use the database: nothing would close the connection."""
    # On an event loop Django would first read a synchronous iterator to its end.
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
