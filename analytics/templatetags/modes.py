"""For the pages of floors that don't know this one."""

from django import template

from analytics.health import modes, readiness

register = template.Library()


@register.simple_tag
def degraded_modes() -> list[str]:
    """What a person in front of a poll should know of the whole system just now, as sentences."""
    found = readiness.check_readiness().modes
    return [str(modes.DESCRIPTIONS[mode]) for mode in found if mode != modes.PROOF_OF_WORK]
