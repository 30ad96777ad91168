"""Where and how Landslide is served: addresses, proxies, security headers."""

from __future__ import annotations

from config.security import page_headers
from config.serving import network
from config.settings.base import env

HOST = env.str("HOST", default="127.0.0.1")
PORT = env.int("PORT", default=8000)
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=[]) or network.allowed_hosts(HOST)
HTTPS = env.bool("HTTPS", default=False)
PROXY_SSL_HEADER = env.str("PROXY_SSL_HEADER", default="")
TRUSTED_PROXIES = env.list("TRUSTED_PROXIES", default=[])
#: Where people reach us, if requests can't tell: behind a proxy that puts a Host of its own in their place.
PUBLIC_URL = env.str("PUBLIC_URL", default="").rstrip("/")
TRUSTED_ORIGINS = env.list("TRUSTED_ORIGINS", default=[]) + ([PUBLIC_URL] if PUBLIC_URL else [])

CSRF_TRUSTED_ORIGINS = TRUSTED_ORIGINS
CSRF_COOKIE_SECURE = SESSION_COOKIE_SECURE = LANGUAGE_COOKIE_SECURE = HTTPS
SESSION_COOKIE_HTTPONLY = True
# A year where there is https: what browsers' lists and scanners ask for. Less while https is being tried out.
SECURE_HSTS_SECONDS = env.int("HSTS_SECONDS", default=365 * 86_400 if HTTPS else 0)
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
if PROXY_SSL_HEADER:
    # Only where asked for: without a proxy that sets it, anyone could send this header.
    SECURE_PROXY_SSL_HEADER = (f"HTTP_{PROXY_SSL_HEADER.upper().replace('-', '_')}", "https")
if not HTTPS:
    # Browsers ignore this header on plain http and complain about it on every page.
    SECURE_CROSS_ORIGIN_OPENER_POLICY = None
CONTENT_SECURITY_POLICY = {"DIRECTIVES": page_headers.PUBLIC}
# Of `check --deploy`. The first two would speak for other names than ours, the third is for whoever ends TLS:
# deploy/nginx.conf has the redirect, and a health check over plain http must not get one.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021", "security.W008"]
