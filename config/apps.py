from django.apps import AppConfig


class ProjectConfig(AppConfig):
    name = "config"
    verbose_name = "Landslide"

    def ready(self) -> None:
        # Tasks sent from a web process must go to our broker, so the Celery app is made with Django.
        from config import celery, checks

        celery.app.set_default()
        checks.register_all()
