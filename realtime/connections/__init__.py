"""Viewers' ways to the hub: WebSocket, event stream and tally endpoint, each a plain ASGI application.

Start with websocket.py. May import the hub and everything below it.
"""
