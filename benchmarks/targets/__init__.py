"""Systems that accept votes over HTTP, behind one interface for the measures of accepting."""

from __future__ import annotations

from benchmarks.targets.base import Target
from benchmarks.targets.fastify import Fastify
from benchmarks.targets.landslide import OurSystem
from benchmarks.targets.stock import Stock

__all__ = ["Fastify", "OurSystem", "Stock", "Target"]
