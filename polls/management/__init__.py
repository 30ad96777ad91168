"""The commands of this app (`commands/`), and code that they share.

Start with `terminal.py` (printing and asking). `audience.py` is the load generator behind `manage.py crowd`.
It may import anything in `polls` but `admin`.
"""
