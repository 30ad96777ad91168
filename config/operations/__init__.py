"""Operations: logs, request ids, system checks, database timeouts.

Start with checks.py, which refuses wrong settings, or logging.py, which formats log lines.
This package may import config.protocols, config.env and every app.
"""
