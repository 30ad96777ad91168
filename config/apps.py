import gc

from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps
from django.contrib.staticfiles.apps import StaticFilesConfig


class ProjectConfig(AppConfig):
    default = True
    name = "config"
    verbose_name = "Landslide"

    def ready(self) -> None:
        # Tasks sent from a web process must go to our broker, so the Celery app is made with Django.
        from config import celery
        from config.operations import checks

        celery.app.set_default()
        checks.register_all()
        gc.freeze()  # what is there by now stays: see config/__init__.py


class Admin(admin_apps.SimpleAdminConfig):
    """Its pages are loaded by the site where they are asked for: a worker has no use for them."""

    default = False  # the project's own is
    default_site = "config.admin.site.LandslideAdminSite"


class StaticFiles(StaticFilesConfig):
    """Without what no page of ours loads; compressing it took most of a minute of the first start."""

    ignore_patterns = [*StaticFilesConfig.ignore_patterns, "*.map", "redoc", "rest_framework"]
