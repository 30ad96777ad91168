"""What `manage.py serve` runs: the supervisor, the web process on uvicorn or Daphne, the embedded worker.

Start with supervisor.py for full mode, and embedded.py for a single process.
This package may import config.apps, config.celery and the packages below them, never the settings module.
"""
