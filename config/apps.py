import gc

from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps
from django.contrib.staticfiles.apps import StaticFilesConfig
from django.core import checks


class ProjectConfig(AppConfig):
    default = True
    name = "config"
    verbose_name = "Landslide"

    def ready(self) -> None:
        # Make our Celery app the default. With Celery's own default app, tasks sent from a web process would
        # go to a different broker.
        from config import celery
        from config.operations.checks import check_settings

        celery.app.set_default()
        checks.register(check_settings)
        gc.freeze()  # all objects so far are permanent: see config/__init__.py


class Admin(admin_apps.SimpleAdminConfig):
    """The admin app without autodiscovery. LandslideAdminSite discovers the admin modules on first use."""

    default = False  # ProjectConfig is the default
    default_site = "config.admin.site.LandslideAdminSite"


class StaticFiles(StaticFilesConfig):
    """Skip static files that no page loads.

    Compressing those files took most of a minute at the first start.
    """

    ignore_patterns = [*StaticFilesConfig.ignore_patterns, "*.map", "redoc", "rest_framework"]
