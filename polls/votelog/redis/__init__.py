"""The vote log in Redis Streams.

Start with `log.py`, then `landslide.lua`: the Redis Function that decides ballots and appends them.
`functions.py` loads and calls it. It may import the rest of `polls.votelog` and what lies below.
"""
