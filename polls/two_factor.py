"""Two-factor login of staff: codes of an authenticator app, and recovery codes for a lost phone.

Only this module decides who acts as staff: the admin, the tally endpoint and the sockets all call
`is_verified_staff`. django-otp checks the codes, accepts each code once, and throttles after wrong codes.
"""

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

RECOVERY_CODES = 10
#: Digits only, so that a phone shows the same keyboard for both kinds of code.
RECOVERY_DIGITS = 16
#: A key that was shown but not confirmed is valid for at least this long, and at most twice as long.
SETUP_PERIOD_SECONDS = 3600


def required() -> bool:
    return bool(settings.ADMIN_TWO_FACTOR == "required")


def is_verified_staff(user: Any, device: Device | None) -> bool:
    """Whether this account may act as staff in a session that has verified `device` (None: no device)."""
    if not (user.is_active and user.is_staff):
        return False
    return device is not None or not (required() or device_of(user))


def is_verified_request_user(user: Any) -> bool:
    """Call `is_verified_staff` for request.user. (django-otp's middleware has added the device to it.)"""
    return is_verified_staff(user, getattr(user, "otp_device", None))


def verified_device(user: Any, session: Any) -> Device | None:
    """Return the device that this session has verified, for a user without `otp_device`."""
    known = session.get(django_otp.DEVICE_ID_SESSION_KEY)
    device = Device.from_persistent_id(known) if known else None
    return device if device is not None and device.user_id == user.pk and device.confirmed else None


def device_of(user: Any) -> TOTPDevice | None:
    """Return the account's confirmed authenticator app, if any."""
    return TOTPDevice.objects.filter(user=user, confirmed=True).first()


def devices_to_confirm(user: Any, session_key: str) -> list[TOTPDevice]:
    """Return the unsaved devices that this session may confirm, the newest first.

    The keys of these devices are derived from the session key, which is secret and changes with each login. A
    reload therefore keeps the key that was scanned, and a key that was seen once isn't shown to a later
    session.
    """
    now = int(clock.now()) // SETUP_PERIOD_SECONDS
    return [_device(user, session_key, period) for period in (now, now - 1)]


def _device(user: Any, session_key: str, period: int) -> TOTPDevice:
    text = f"{user.pk} {session_key} {period}".encode()
    key = keyed_hash(text, signing_secrets()[0], b"authenticator app", 20)
    return TOTPDevice(user=user, name="app", confirmed=False, key=key.hex())


@transaction.atomic
def confirm(user: Any, session_key: str, code: str) -> tuple[TOTPDevice, list[str]] | None:
    """Turn two-factor login on; return the device and its recovery codes, or None if the code is wrong."""
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
    """Replace the account's recovery codes by new ones."""
    codes = _new_codes(user)
    record(user_actor(user), "recovery codes made")
    return codes


def _new_codes(user: Any) -> list[str]:
    """Create recovery codes. Only keyed hashes are stored, so the codes can be shown only once."""
    codes = [f"{secrets.randbelow(10**RECOVERY_DIGITS):0{RECOVERY_DIGITS}}" for _ in range(RECOVERY_CODES)]
    device, _ = StaticDevice.objects.get_or_create(user=user, defaults={"name": "recovery codes"})
    device.token_set.all().delete()
    StaticToken.objects.bulk_create(
        StaticToken(device=device, token=_hashed(code, signing_secrets()[0])) for code in codes
    )
    return [" ".join(code[n : n + 4] for n in range(0, RECOVERY_DIGITS, 4)) for code in codes]


def recovery_codes_left(user: Any) -> int:
    return StaticToken.objects.filter(device__user=user).count()


def verify(user: Any, code: str) -> Device | None:
    """Return the device that accepts this code, or None.

    A wrong code throttles further codes of the same kind: those of the app, or recovery codes.
    """
    code = normalized(code)
    if len(code) != RECOVERY_DIGITS:
        app = device_of(user)
        return django_otp.verify_token(user, app.persistent_id, code) if app else None
    recovery = StaticDevice.objects.filter(user=user, confirmed=True).first()
    if recovery is None:
        return None
    # Codes made with a previous SECRET_KEY are still valid. django-otp gets only one hash. If it tried a hash
    # for each key, a wrong code would count several times.
    tokens = [_hashed(code, secret) for secret in signing_secrets()]
    known = recovery.token_set.filter(token__in=tokens).values_list("token", flat=True).first()
    return django_otp.verify_token(user, recovery.persistent_id, known or tokens[0])


def locked_until(user: Any, code: str) -> datetime | None:
    """Return the time when this kind of code is accepted again, or None if it isn't locked out."""
    kind = StaticDevice if len(normalized(code)) == RECOVERY_DIGITS else TOTPDevice
    device = kind.objects.filter(user=user, confirmed=True).first()
    allowed, why = device.verify_is_allowed() if device else (True, None)
    return None if allowed or why is None else why["locked_until"]


def normalized(code: str) -> str:
    """Return the code as plain digits: NFKC, without spaces and hyphens."""
    text = unicodedata.normalize("NFKC", code)
    return "".join(character for character in text if not character.isspace() and character != "-")


def _hashed(code: str, secret: str) -> str:
    return keyed_hash(code.encode("utf-8", "replace"), secret, b"recovery code", 8).hex()


@transaction.atomic
def remove(user: Any, actor: str = COMMAND) -> bool:
    """Delete the account's app and recovery codes; return whether there was an app."""
    gone, _ = TOTPDevice.objects.filter(user=user).delete()
    StaticDevice.objects.filter(user=user).delete()
    if gone:
        record(actor, "two-factor removed", account=user.get_username())
    return bool(gone)
