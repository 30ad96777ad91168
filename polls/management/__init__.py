"""The commands of this app (`commands/`), and code that they share.

Start with `terminal.py` (printing and asking). `audience.py` is the load generator behind `manage.py crowd`.
This package may import anything in `polls` but `admin`.
"""
