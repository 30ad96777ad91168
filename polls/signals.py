"""What this floor tells the floors above it, on commit and never per ballot."""

from django.dispatch import Signal

#: Ballots, or markers that close a round, are in the vote log. kwargs: partitions, a set of numbers.
ballots_appended = Signal()

#: A poll's state, rules or round changed. kwargs: poll_id.
poll_changed = Signal()

#: Addresses or networks have just come over their rate limit in a poll; sent from a thread of its own.
#: kwargs: poll_id; kind, "address" or "network"; count, how many.
over_limit = Signal()
