"""The second factor of people who log in to the admin: codes of an app, and recovery codes for a lost phone.

Who is let in as staff is decided here and nowhere else: the admin, the tally endpoint and the sockets ask
`is_verified_staff`. django-otp verifies: it takes a code once, and makes guessing slower with each wrong one.
"""

from __future__ import annotations

import secrets
import unicodedata
from datetime import datetime
from typing import Any

import django_otp
from django.conf import settings
from django.db import transaction
from django_otp.models import Device
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

from polls import clock
from polls.audit_log import COMMAND, record, user_actor
from polls.keys import keyed_hash, signing_secrets

REQUIRED, OPTIONAL = "required", "optional"

RECOVERY_CODES = 10
#: Digits alone, so that a phone shows one keyboard for both sorts of code.
RECOVERY_DIGITS = 16
#: A key that was shown but never confirmed is good for this long at least, and twice as long at most.
SETUP_PERIOD_SECONDS = 3600


def required() -> bool:
    return bool(settings.ADMIN_TWO_FACTOR == REQUIRED)


def is_verified_staff(user: Any, device: Device | None) -> bool:
    """Whether this account may act as staff, in a session in which `device` has been verified, if any has."""
    if not (user.is_active and user.is_staff):
        return False
    return device is not None or not (required() or device_of(user))


def is_verified_request_user(user: Any) -> bool:
    """The same of request.user, as django-otp's middleware leaves it."""
    return is_verified_staff(user, getattr(user, "otp_device", None))


def verified_device(user: Any, session: Any) -> Device | None:
    """What that middleware does, for a session that came by no request."""
    known = session.get(django_otp.DEVICE_ID_SESSION_KEY)
    device = Device.from_persistent_id(known) if known else None
    return device if device is not None and device.user_id == user.pk and device.confirmed else None


def device_of(user: Any) -> TOTPDevice | None:
    """The app that this account uses."""
    return TOTPDevice.objects.filter(user=user, confirmed=True).first()


# --- setting it up ---


def devices_to_confirm(user: Any, session_key: str) -> list[TOTPDevice]:
    """What may be confirmed in this session, the newest first; looking at the page saves nothing.

    The key is made of the session's, which nobody else knows and which changes with each log-in. So a reload
    doesn't outdate what was scanned, and what somebody saw once is not shown again.
    """
    now = int(clock.now()) // SETUP_PERIOD_SECONDS
    return [_device(user, session_key, period) for period in (now, now - 1)]


def _device(user: Any, session_key: str, period: int) -> TOTPDevice:
    text = f"{user.pk} {session_key} {period}".encode()
    key = keyed_hash(text, signing_secrets()[0], b"authenticator app", 20)
    return TOTPDevice(user=user, name="app", confirmed=False, key=key.hex())


@transaction.atomic
def confirm(user: Any, session_key: str, code: str) -> tuple[TOTPDevice, list[str]] | None:
    """From now on this account needs the app: it and its recovery codes, or None if the code is wrong."""
    for device in devices_to_confirm(user, session_key):
        device.save()
        if django_otp.verify_token(user, device.persistent_id, normalized(code)) is not None:
            TOTPDevice.objects.filter(user=user).exclude(pk=device.pk).delete()
            TOTPDevice.objects.filter(pk=device.pk).update(confirmed=True)
            record(user_actor(user), "two-factor set up")
            return device, _new_codes(user)
        device.delete()
    return None


@transaction.atomic
def new_recovery_codes(user: Any) -> list[str]:
    """In the place of those there were."""
    codes = _new_codes(user)
    record(user_actor(user), "recovery codes made")
    return codes


def _new_codes(user: Any) -> list[str]:
    """Kept only as keyed hashes, so they can be shown once."""
    codes = [f"{secrets.randbelow(10**RECOVERY_DIGITS):0{RECOVERY_DIGITS}}" for _ in range(RECOVERY_CODES)]
    device, _ = StaticDevice.objects.get_or_create(user=user, defaults={"name": "recovery codes"})
    device.token_set.all().delete()
    StaticToken.objects.bulk_create(
        StaticToken(device=device, token=_hashed(code, signing_secrets()[0])) for code in codes
    )
    return [" ".join(code[n : n + 4] for n in range(0, RECOVERY_DIGITS, 4)) for code in codes]


def recovery_codes_left(user: Any) -> int:
    return StaticToken.objects.filter(device__user=user).count()


# --- using it ---


def verify(user: Any, code: str) -> Device | None:
    """The device that takes this code. Wrong ones are counted by the device they were meant for."""
    code = normalized(code)
    if len(code) != RECOVERY_DIGITS:
        app = device_of(user)
        return django_otp.verify_token(user, app.persistent_id, code) if app else None
    recovery = StaticDevice.objects.filter(user=user, confirmed=True).first()
    if recovery is None:
        return None
    # After a change of the SECRET_KEY they are still good. One try each, or a wrong code would count twice.
    tokens = [_hashed(code, secret) for secret in signing_secrets()]
    known = recovery.token_set.filter(token__in=tokens).values_list("token", flat=True).first()
    return django_otp.verify_token(user, recovery.persistent_id, known or tokens[0])


def locked_until(user: Any, code: str) -> datetime | None:
    """Until when no code like this one is even looked at, after wrong ones."""
    kind = StaticDevice if len(normalized(code)) == RECOVERY_DIGITS else TOTPDevice
    device = kind.objects.filter(user=user, confirmed=True).first()
    allowed, why = device.verify_is_allowed() if device else (True, None)
    return None if allowed or why is None else why["locked_until"]


def normalized(code: str) -> str:
    """Digits as they were meant: without the spaces they are shown with, whatever keyboard they came from."""
    text = unicodedata.normalize("NFKC", code)
    return "".join(character for character in text if not character.isspace() and character != "-")


def _hashed(code: str, secret: str) -> str:
    return keyed_hash(code.encode("utf-8", "replace"), secret, b"recovery code", 8).hex()


# --- doing without it ---


@transaction.atomic
def remove(user: Any, actor: str = COMMAND) -> bool:
    """Forget app and recovery codes; whether there were any."""
    gone, _ = TOTPDevice.objects.filter(user=user).delete()
    StaticDevice.objects.filter(user=user).delete()
    if gone:
        record(actor, "two-factor removed", account=user.get_username())
    return bool(gone)
