"""The management commands that serve: `serve` for production and `make run`, `runserver` for development.

Start with commands/serve.py. May import every other package of config.
"""
