"""Settings, all from environment variables with working defaults. docs/settings.md lists the variables.

Start with base.py; stores.py has the connections to stores, casting.py the limits of casting and counting.
May import every package of config except management and asgi.py. Django uses only the names in capitals.
"""

from config.settings.api import *
from config.settings.application import *
from config.settings.base import *
from config.settings.casting import *
from config.settings.celery import *
from config.settings.login import *
from config.settings.stores import *
from config.settings.web import *
