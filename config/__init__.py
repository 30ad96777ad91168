"""The Django project: settings, servers, security and operations.

Start with management/commands/serve.py, or asgi.py for the path of a request.
May import realtime, analytics and polls; they import nothing from here.
"""

import gc

# Startup makes hundreds of thousands of permanent objects. With Python's default threshold the garbage
# collector scanned them again and again, a seventh of the time of each start.
gc.set_threshold(50_000, 20, 20)
