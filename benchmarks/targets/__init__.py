"""Systems that take votes over HTTP, started and ready, in the one shape that the measures of intake use."""

from __future__ import annotations

from benchmarks.targets.base import Target
from benchmarks.targets.fastify import Fastify
from benchmarks.targets.landslide import OurSystem
from benchmarks.targets.stock import Stock

__all__ = ["Fastify", "OurSystem", "Stock", "Target"]
