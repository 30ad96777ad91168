"""Who may vote: voter keys, eligibility, invites, proof of work, and the cached rules of a poll.

Start with `identity.py` (from cookie, pass or API client to voter_key), then `eligibility.py`. It may import
`polls.lifecycle` and what lies below it, but nothing of casting, pages or the API.
"""
