"""Install the hooks (hooks.py) in each process of a system under test. Python imports this file at its start.

Only the harness (tests/faults/harness.py) puts this folder on PYTHONPATH.
"""

import os

if os.environ.get("FAULTS_FOLDER"):
    from tests.faults.inside import hooks

    hooks.install()
