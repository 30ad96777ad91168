"""Taking ballots: from an HTTP request to a durable entry in the vote log, and the receipt for it.

Start with `cast.py`, which casts a ballot. `asgi_lane.py` and `raw_http_lane.py` are fast paths to it.
This package may import `polls.voters`, `polls.votelog` and what lies below them.
"""
