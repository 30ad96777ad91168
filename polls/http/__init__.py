"""Reading requests, in Django and ahead of it: client address, host, origin, scheme, headers.

Start with `lanes.py`, which lets code ahead of Django answer as Django would. `client_address.py` knows the
trusted proxies, `origins.py` the origins that may vote. It may import `polls.text` and `polls.errors`.
"""
