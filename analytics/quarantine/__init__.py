"""Quarantine: moves doubtful ballots into a second tally, and releases them again.

Start with decisions.py. disclosure_control.py says which ballots may be moved, and moves.py moves them. The
package may import counting/, results/ and the models.
"""
