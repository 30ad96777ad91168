"""What the other settings build on: the environment, folders, and whether one process does everything."""

from __future__ import annotations

from pathlib import Path

from config.env import Env, private_folder

env = Env()
BASE_DIR = Path(__file__).resolve().parents[2]
#: What audit bundles name as their maker. Nothing is released yet.
VERSION = "0.1.0.dev0"
DATA_DIR = Path(env.str("DATA_DIR", default=str(BASE_DIR / "data"))).expanduser().resolve()
private_folder(DATA_DIR, public="static")
DEBUG = env.bool("DEBUG", default=False)

#: Redis, for whatever has no address of its own; without it one process does everything.
REDIS_URL = env.str("REDIS_URL", default="")
REDIS_PREFIX = env.str("REDIS_PREFIX", default="landslide")
EMBEDDED = not REDIS_URL
