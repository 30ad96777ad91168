"""Quarantine: moves doubtful ballots into a second tally, and releases them again.

Start with decisions.py. disclosure_control.py says which ballots may be moved, and moves.py moves them. May
import counting/, results/ and the models.
"""
