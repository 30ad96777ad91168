"""What the documentation shows: the walk of docs/first-poll.md, its pictures, and a test that takes it.

Start with first_poll.py. `make pictures` runs pictures.py.
"""
