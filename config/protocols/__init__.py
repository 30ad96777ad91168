"""HTTP and WebSocket protocols on top of uvicorn: limits for slow clients, and a fast path for viewers.

Start with uvicorn_http.py, the protocol class of every connection on uvicorn.
All uses of uvicorn's private names are here. May import config.env and the apps.
"""
