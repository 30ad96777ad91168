from django.dispatch import Signal

#: Tallies have changed. Sent on commit, once per batch. kwargs: poll_ids, a set.
tally_changed = Signal()
