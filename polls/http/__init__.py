"""What requests have in common, with or without Django: client address, host, origin, scheme, headers.

Start with `lanes.py`, which lets code ahead of Django answer as Django would. `client_address.py` knows which
proxies to trust, `origins.py` which pages may act here. It may import `polls.text` and `polls.errors`.
"""
