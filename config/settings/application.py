"""Apps, middleware, templates, languages, static files, logs."""

from django.utils.translation import gettext_lazy as _

from config.admin.theme import UNFOLD as UNFOLD
from config.operations import logging
from config.settings.base import BASE_DIR, DATA_DIR, DEBUG, env

INSTALLED_APPS = [
    "config",  # first, so that its runserver is used
    "csp",
    "unfold.apps.BasicAppConfig",  # without its site: config.apps.Admin sets ours
    "unfold.contrib.filters",
    "unfold.contrib.forms",
    "config.apps.Admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "config.apps.StaticFiles",
    "django_otp",
    "django_otp.plugins.otp_totp",
    "django_otp.plugins.otp_static",
    "axes",
    "channels",
    "rest_framework",
    "rest_framework_api_key",  # polls.ApiClient builds on its abstract model
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_filters",
    "polls",
    "analytics",
    "realtime",
]
# The whole chain runs in one thread per request: see config/serving/django_handler.py.
MIDDLEWARE = [
    "config.security.cookie_free_responses.CookieFreeResponses",
    "django.middleware.security.SecurityMiddleware",
    "config.security.page_headers.PageHeaders",
    "config.assets.static_files.StaticFilesMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_otp.middleware.OTPMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]
ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
LOGIN_URL = "admin:login"
# Where the admin's login leads without `next`. The voters' sign-in has its own redirect.
LOGIN_REDIRECT_URL = "admin:index"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATA_UPLOAD_MAX_MEMORY_SIZE = 10 * 1024 * 1024

LANGUAGES = [("en", _("English"))]
LANGUAGE_CODE = env.language("LANGUAGE_CODE", [code for code, _name in LANGUAGES], default="en")
LOCALE_PATHS = [BASE_DIR / "locale"]
TIME_ZONE = env.time_zone("TIME_ZONE", default="UTC")
USE_I18N = USE_TZ = True
FORMAT_MODULE_PATH = ["config.formats"]

STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "config.assets.static_files.HashedStaticFiles"},
    # No base_url, because the API serves audit bundles, and only to people who may see the result.
    "audit": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": DATA_DIR / "audit", "base_url": None, "file_permissions_mode": 0o600},
    },
}
# Before collectstatic has run (as in tests), serve files from their source folders.
WHITENOISE_USE_FINDERS = DEBUG or not (STATIC_ROOT / "staticfiles.json").exists()
WHITENOISE_ALLOW_ALL_ORIGINS = False

LOG_FORMAT = env.str("LOG_FORMAT", default="console")
LOG_LEVEL = env.str("LOG_LEVEL", default="INFO").upper()
LOGGING = logging.logging_config(LOG_FORMAT, LOG_LEVEL)
LOGGING_CONFIG = "config.operations.logging.apply"
