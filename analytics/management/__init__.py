"""Commands of `manage.py` about counting: recount, resume_counting, reconcile_log, purge, seed_demo.

The commands may import everything in analytics and polls.
"""
