"""HTTP and WebSocket protocols: limits for slow clients, our WebSockets, and connections of viewers.

Start with uvicorn/connection.py, the protocol of every connection on uvicorn.
Only the package uvicorn/ depends on uvicorn's internals. May import config.env and the apps.
"""
