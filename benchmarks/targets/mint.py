"""`python -m benchmarks.targets.mint COUNT FILE`, in a system's environment: make voters' cookies."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import django


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    from polls.voters import identity  # noqa: PLC0415  # models can only be imported once Django is ready

    with Path(sys.argv[2]).open("a") as file:
        file.writelines(f"{identity.new_cookie()}\n" for _ in range(int(sys.argv[1])))


if __name__ == "__main__":
    main()
