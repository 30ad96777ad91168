"""Reading requests, in Django and ahead of it: client address, host, origin, scheme, headers.

Start with `lanes.py`: helpers to answer ahead of Django, as Django would. `client_address.py` knows the
trusted proxies, `origins.py` the origins that may vote. It may import `polls.text` and `polls.errors`.
"""
