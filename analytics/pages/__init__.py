"""Voters' pages about the count: the status of a receipt, and the results of earlier rounds.

Start with receipt.py. The package may import audit/, results/ and everything below them.
"""
