"""What an operator sees and relies on: logs, request ids, system checks, database timeouts.

Start with checks.py for settings that are refused, and logging.py for the form of a log line.
May import config.protocols, config.env and every app.
"""
