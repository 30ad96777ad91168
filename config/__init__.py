"""The Django project: settings, servers, security and operations.

Start with management/commands/serve.py, or asgi.py for the path of a request.
This package may import realtime, analytics and polls; they import nothing from here.
"""

import gc

# Startup creates hundreds of thousands of permanent objects. With Python's default threshold, the garbage
# collector scans all of these objects again and again. These scans take a seventh of the startup time.
gc.set_threshold(50_000, 20, 20)
