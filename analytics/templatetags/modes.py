"""Template tags for pages of polls, which can't import analytics."""

from django import template

from analytics.health import modes, readiness

register = template.Library()


@register.simple_tag
def degraded_modes() -> list[str]:
    """Return the system's degraded modes as sentences, for a poll's admin page."""
    found = readiness.check_readiness().modes
    return [str(modes.DESCRIPTIONS[mode]) for mode in found if mode != modes.PROOF_OF_WORK]
