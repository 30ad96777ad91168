"""The pages for screens, results and presenter, and their addresses.

Start with views.py. The pages hold no figures: these arrive over realtime/connections.
"""
