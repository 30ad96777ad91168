"""`python -m config.serving.child PARENT NICE COMMAND…`: become COMMAND, which ends when its parent does.

A process of its own does this between fork and exec, so that the supervisor needs no code there.
Linux sends the signal; elsewhere a child outlives a killed supervisor, as everywhere.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, nice: int, command: list[str]) -> None:
    if sys.platform == "linux":
        # SIGTERM, not SIGKILL: a web process still answers the casts it has begun.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    os.nice(nice)
    if os.getppid() != parent:
        sys.exit("The supervisor is gone.")
    os.execvp(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
