from django.dispatch import Signal

#: Counted ballots changed tallies. kwargs: poll_ids, a set; sent on commit, once per batch.
tally_changed = Signal()
