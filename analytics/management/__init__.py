"""Commands of `manage.py` about counting: recount, resume_counting, reconcile_log, purge, seed_demo.

They may import everything in analytics and polls.
"""
