"""Addresses, proxies, origins, cookies and security headers."""

from config.security import page_headers
from config.serving import network
from config.settings.base import env

HOST = env.str("HOST", default="127.0.0.1")
PORT = env.int("PORT", default=8000)
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=[]) or network.allowed_hosts(HOST)
HTTPS = env.bool("HTTPS", default=False)
PROXY_SSL_HEADER = env.str("PROXY_SSL_HEADER", default="")
TRUSTED_PROXIES = env.list("TRUSTED_PROXIES", default=[])
#: The address that people use. Needed behind a proxy that replaces the Host header.
PUBLIC_URL = env.str("PUBLIC_URL", default="").rstrip("/")
TRUSTED_ORIGINS = env.list("TRUSTED_ORIGINS", default=[]) + ([PUBLIC_URL] if PUBLIC_URL else [])

CSRF_TRUSTED_ORIGINS = TRUSTED_ORIGINS
CSRF_COOKIE_SECURE = SESSION_COOKIE_SECURE = LANGUAGE_COOKIE_SECURE = HTTPS
SESSION_COOKIE_HTTPONLY = True
# A year, as preload lists and scanners require. Operators set less while they try out https.
SECURE_HSTS_SECONDS = env.int("HSTS_SECONDS", default=365 * 86_400 if HTTPS else 0)
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
if PROXY_SSL_HEADER:
    # Unset by default: without a proxy that overwrites this header, any client could send it.
    SECURE_PROXY_SSL_HEADER = (f"HTTP_{PROXY_SSL_HEADER.upper().replace('-', '_')}", "https")
if not HTTPS:
    # On plain http, browsers ignore this header and log a warning on every page.
    SECURE_CROSS_ORIGIN_OPENER_POLICY = None
CONTENT_SECURITY_POLICY = {"DIRECTIVES": page_headers.PUBLIC}
# Warnings of `check --deploy`. W005 and W021 ask for HSTS on subdomains and in the preload list. W008 asks
# for a redirect to https, which is the proxy's task; health checks use plain http.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021", "security.W008"]
