"""Identifies viewers as staff, voters or public by the cookies of their connection.

The functions of this module block, since they query the database and the vote log. A public tally doesn't
need them.
"""

from importlib import import_module

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.utils.crypto import constant_time_compare

from analytics.results.has_voted import has_voted
from analytics.results.visibility import Viewer
from polls import two_factor
from polls.http.cookies import parse_cookies
from polls.models import Visibility


def identify_viewer(cookie: bytes, code: str, results_visible: str) -> Viewer:
    cookies = parse_cookies(cookie.decode("latin-1"))
    if _is_staff(cookies.get(settings.SESSION_COOKIE_NAME)):
        return Viewer.STAFF
    if results_visible == Visibility.AFTER_VOTE and has_voted(code, cookies):
        return Viewer.VOTED
    return Viewer.PUBLIC


def identify_viewers(cookies: list[bytes], code: str, results_visible: str) -> list[Viewer]:
    """Identify several viewers. Look up each different set of cookies only once."""
    known = {cookie: identify_viewer(cookie, code, results_visible) for cookie in set(cookies)}
    return [known[cookie] for cookie in cookies]


def _is_staff(session_key: str | None) -> bool:
    """Return whether this is the session of a user who is logged in to the admin."""
    if not session_key:
        return False
    session = import_module(settings.SESSION_ENGINE).SessionStore(session_key).load()
    if session.get(BACKEND_SESSION_KEY) not in settings.AUTHENTICATION_BACKENDS:
        return False
    user = get_user_model().objects.filter(pk=session.get(SESSION_KEY), is_active=True, is_staff=True).first()
    return (
        user is not None
        and constant_time_compare(session.get(HASH_SESSION_KEY, ""), user.get_session_auth_hash())
        and two_factor.is_verified_staff(user, two_factor.verified_device(user, session))
    )
