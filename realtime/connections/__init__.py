"""Viewers' ways to the hub: WebSocket, event stream and tally endpoint, each a plain ASGI application.

Start with websocket.py. The package may import the hub and everything below it.
"""
