"""Proof of the count: recounts, signed audit bundles, and purges of the links between ballots and voters.

Start with recount.py; then bundles.py and purge.py. static/audit/verify.py checks bundles without any of
this code. The package may import counting/, results/ and the models.
"""
