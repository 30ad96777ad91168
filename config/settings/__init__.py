"""Settings, all from the environment, with defaults that work. docs/settings.md lists every variable.

Start with base.py; stores.py has the connections, casting.py what concerns ballots.
May import every room of config but the commands and asgi.py. Django reads only the names in capitals.
"""

from config.settings.api import *
from config.settings.application import *
from config.settings.base import *
from config.settings.casting import *
from config.settings.celery import *
from config.settings.login import *
from config.settings.stores import *
from config.settings.web import *
