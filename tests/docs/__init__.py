"""Tests of the documentation: the steps of first-poll.md, the examples of adding.md, design.md's picture.

`make pictures` makes the pictures (pictures.py, packages.py). Start with first_poll.py.
"""
