"""A viewer's WebSocket, as a plain ASGI application that hands its mailbox's messages on.

Not a Channels consumer class: that one asks for database connections to be closed on a
shared thread at every message it dispatches, and makes each viewer a channel of its own.
"""

from __future__ import annotations

import asyncio
import logging
import time
from http.cookies import CookieError, SimpleCookie
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.utils.crypto import constant_time_compare

from analytics.api import has_voted
from analytics.tallies import Viewer
from polls import voters
from polls.ballotbox import origin_allowed
from polls.models import Visibility, canonical_code

from .hub import Hub, get_hub
from .protocol import recheck_wanted
from .rooms import Mailbox

logger = logging.getLogger(__name__)

UNKNOWN_POLL, FOREIGN_ORIGIN, TRY_LATER = 4404, 4403, 1013
_RECHECK_SECONDS = 0.5

Scope = dict[str, Any]


async def tally_socket(scope: Scope, receive: Any, send: Any) -> None:
    await receive()
    # Accepted before it may be refused: a browser is told the code only of a socket that was open.
    await send({"type": "websocket.accept"})
    if not origin_allowed(_header(scope, b"origin") or None, _header(scope, b"host")):
        await send({"type": "websocket.close", "code": FOREIGN_ORIGIN})
        return
    hub = get_hub()
    code = canonical_code(scope["url_route"]["kwargs"]["code"])
    try:
        mailbox = await hub.join(code)
    except Exception:
        logger.warning("viewer_not_let_in", exc_info=True)
        await send({"type": "websocket.close", "code": TRY_LATER})
        return
    if mailbox is None:
        await send({"type": "websocket.close", "code": UNKNOWN_POLL})
        return

    async def send_text(text: str) -> None:
        await send({"type": "websocket.send", "text": text})

    await _look_who(scope, hub, mailbox)
    reading = asyncio.ensure_future(_read(receive, scope, hub, mailbox))
    writing = asyncio.ensure_future(mailbox.deliver(send_text))
    try:
        await asyncio.wait((reading, writing), return_when=asyncio.FIRST_COMPLETED)
    finally:
        hub.leave(mailbox)
        for task in (reading, writing):
            task.cancel()
        await asyncio.gather(reading, writing, return_exceptions=True)


async def _read(receive: Any, scope: Scope, hub: Hub, mailbox: Mailbox) -> None:
    """Until the viewer leaves: the only thing it can ask is whether it may see the tally now."""
    checked_at = 0.0
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return
        if recheck_wanted(message.get("text")):
            # A bound on what one socket can make us look up.
            await asyncio.sleep(max(0.0, checked_at + _RECHECK_SECONDS - time.monotonic()))
            checked_at = time.monotonic()
            await _look_who(scope, hub, mailbox)


async def _look_who(scope: Scope, hub: Hub, mailbox: Mailbox) -> None:
    """Find out what this viewer may see; where everybody sees everything, without a look at any store."""
    frames = mailbox.room.frames
    if frames is None or frames.results_visible == Visibility.ALWAYS:
        return
    try:
        hub.see_as(mailbox, await hub.in_thread(_kind_of, scope, mailbox.room.code, frames.results_visible))
    except Exception:
        # Nobody sees more for a store that doesn't answer.
        logger.warning("viewer_not_known", exc_info=True)


def _kind_of(scope: Scope, code: str, results_visible: str) -> Viewer:
    cookies = _cookies(scope)
    if _is_staff(cookies.get(settings.SESSION_COOKIE_NAME)):
        return Viewer.STAFF
    if results_visible == Visibility.AFTER_VOTE and has_voted(code, cookies.get(voters.COOKIE)):
        return Viewer.VOTED
    return Viewer.PUBLIC


def _is_staff(session_key: str | None) -> bool:
    """Whether this is the session of somebody who is logged in to the admin."""
    if not session_key:
        return False
    session = import_module(settings.SESSION_ENGINE).SessionStore(session_key).load()
    if session.get(BACKEND_SESSION_KEY) not in settings.AUTHENTICATION_BACKENDS:
        return False
    user = get_user_model().objects.filter(pk=session.get(SESSION_KEY), is_active=True, is_staff=True).first()
    return user is not None and constant_time_compare(
        session.get(HASH_SESSION_KEY, ""), user.get_session_auth_hash()
    )


def _header(scope: Scope, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


def _cookies(scope: Scope) -> dict[str, str]:
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(_header(scope, b"cookie")).items()}
    except CookieError:
        return {}
