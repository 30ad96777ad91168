"""Pushes tallies to screens: each process has one hub, and all viewers of a poll get the same frame.

Start with hub.py, then channels.py (who watches) and protocol.py (what is sent). connections/ serves
WebSockets, event streams and the tally endpoint. This app may import analytics and polls, never config.
"""
