"""Login to the admin: two-factor login and lockout."""

from datetime import timedelta

from config.settings.base import EMBEDDED, env

ADMIN_TWO_FACTOR = env.str("ADMIN_TWO_FACTOR", default="optional" if EMBEDDED else "required")
OTP_TOTP_ISSUER = "Landslide"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
AXES_HANDLER = "config.security.lockout.LoginAttempts"
AXES_FAILURE_LIMIT = env.int("LOGIN_FAILURES", default=5)
AXES_COOLOFF_TIME = timedelta(minutes=env.float("LOGIN_LOCKOUT_MINUTES", default=15))
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_USERNAME_CALLABLE = "config.security.lockout.username_of"
AXES_CLIENT_IP_CALLABLE = "config.security.lockout.network_hash"
AXES_LOCKOUT_CALLABLE = "config.security.lockout.lockout_response"
AXES_RESET_ON_SUCCESS = True
# Failures during a lockout don't extend it. Otherwise an attacker on that network could keep an admin out.
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_DISABLE_ACCESS_LOG = True  # polls.login_log records logins
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False
AXES_SENSITIVE_PARAMETERS = ["username", "ip_address", "csrfmiddlewaretoken", "code", "next"]
