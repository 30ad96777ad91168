"""Quarantine: moving doubtful ballots into a second tally, and releasing them again.

Start with decisions.py, which needs disclosure_control.py (what may be moved) and moves.py (how it is moved).
May import counting/, results/ and the models.
"""
