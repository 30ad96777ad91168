"""Proof of the count: recount, signed audit bundles, and the purge of what links ballots to voters.

Start with recount.py; then bundles.py and purge.py. static/audit/verify.py checks bundles without any of
this code. May import counting/, results/ and the models.
"""
