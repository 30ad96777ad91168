"""The Django project: settings, entry points and the commands that serve. Nothing imports from here."""

import gc

# Whatever starts makes hundreds of thousands of objects that stay. Looking through them for garbage again
# and again, as Python does by itself, took a seventh of every start.
gc.set_threshold(50_000, 20, 20)
