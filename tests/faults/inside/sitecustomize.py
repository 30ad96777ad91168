"""Python imports this in every process of a system under test, before anything of ours: see hooks.py.

The harness (tests/faults/harness.py) puts this folder on PYTHONPATH; nothing else does.
"""

import os

if os.environ.get("FAULTS_FOLDER"):
    from tests.faults.inside import hooks

    hooks.install()
