#!/usr/bin/env python
"""Landslide's command line: `manage.py serve`, `manage.py migrate`, `manage.py help` …"""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        from django.core.exceptions import ImproperlyConfigured  # noqa: PLC0415
        from django.core.management import execute_from_command_line  # noqa: PLC0415
    except ImportError:
        sys.exit("Django isn't installed here. Run `make run`, or activate .venv first.")
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        # The operator has to correct a setting. The message says which one; a traceback wouldn't help.
        sys.exit(f"Landslide can't start: {error}")
    except KeyboardInterrupt:
        sys.exit(130)  # Ctrl-C during startup


if __name__ == "__main__":
    main()
