"""The pages for screens, results and presenter, and their addresses.

Start with views.py. The pages hold no figures: the figures arrive over realtime/connections.
"""
