"""Settings that others depend on: folders, keys, Redis, embedded mode."""

import secrets
from pathlib import Path

from config.env import Env
from config.private_files import private_file, private_folder

env = Env()
BASE_DIR = Path(__file__).resolve().parents[2]
#: Audit bundles contain the version. There has been no release yet.
VERSION = "0.1.0.dev0"
DATA_DIR = Path(env.str("DATA_DIR", default=str(BASE_DIR / "data"))).expanduser().resolve()
private_folder(DATA_DIR, public="static")
SECRET_KEY = env.secret("SECRET_KEY") or private_file(
    DATA_DIR / "secret_key", lambda: secrets.token_urlsafe(64)
)
#: Former keys. Signatures made with former keys stay valid after a change of SECRET_KEY.
SECRET_KEY_FALLBACKS = [key for key in env.secret("SECRET_KEY_FALLBACKS").split(",") if key]
ADMIN_PASSWORD = env.secret("ADMIN_PASSWORD")
#: The private key that signs audit bundles: 32 bytes in hexadecimal.
AUDIT_KEY = env.secret("AUDIT_KEY") or private_file(DATA_DIR / "audit_key", lambda: secrets.token_hex(32))

DEBUG = env.bool("DEBUG", default=False)

#: The default address for everything that uses Redis. Without REDIS_URL, one process does everything
#: (embedded mode).
REDIS_URL = env.str("REDIS_URL", default="")
REDIS_PREFIX = env.str("REDIS_PREFIX", default="landslide")
EMBEDDED = not REDIS_URL
