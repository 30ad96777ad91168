"""`python -m config.serving.child PARENT NICE COMMAND…`: run COMMAND, and stop it when its parent ends.

This is a program of its own, so that the supervisor runs no Python code between fork and exec. Only Linux has
parent-death signals; elsewhere a child outlives a killed supervisor.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, nice: int, command: list[str]) -> None:
    if sys.platform == "linux":
        # SIGTERM, not SIGKILL: a web process still answers the casts that it has accepted.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    os.nice(nice)
    if os.getppid() != parent:
        sys.exit("The supervisor is gone.")
    os.execvp(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
