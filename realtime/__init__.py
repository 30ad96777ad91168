"""Pushes tallies to screens: one hub per process, one encoded frame for all viewers of a poll.

Start with hub.py, then channels.py (who watches) and protocol.py (what is sent). connections/ serves
WebSockets, event streams and the tally endpoint. May import analytics and polls, never config.
"""
