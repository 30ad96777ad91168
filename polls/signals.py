"""Signals to the apps above, sent on commit and never per ballot."""

from django.dispatch import Signal

#: Ballots, or the markers that close a round, were appended to the vote log.
#: kwargs: partitions, a set of numbers.
ballots_appended = Signal()

#: A poll's state, rules or round changed. kwargs: poll_id.
poll_changed = Signal()

#: Addresses or networks have just exceeded their rate limit in a poll. Sent from a separate thread.
#: kwargs: poll_id; kind, "address" or "network"; count, how many.
over_limit = Signal()
