"""The state of the system: heartbeats of workers, readiness for /readyz, metrics, and degraded modes.

Start with readiness.py. modes.py lists the degraded modes. The package may import counting/, results/ and the
models.
"""
