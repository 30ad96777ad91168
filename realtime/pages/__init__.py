"""The pages for screens, results and presenter, and their addresses.

Start with views.py. The pages hold no figures. The scripts get the figures over realtime/connections.
"""
