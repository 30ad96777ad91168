"""Find out whether a viewer has voted, since some tallies are shown only to voters."""

from collections.abc import Mapping

from polls.casting.ballot_box import current_ballot, eligible_voter_key
from polls.errors import PollNotFound
from polls.voters import identity
from polls.voters.poll_rules import get_rules


def has_voted(code: str, cookies: Mapping[str, str]) -> bool:
    """Return whether the voter behind these cookies has a ballot in the poll's current round."""
    cookie, pass_ = cookies.get(identity.COOKIE), cookies.get(identity.PASS_COOKIE)
    if cookie is None and pass_ is None:
        return False
    try:
        rules = get_rules(code)
    except PollNotFound:
        return False
    voter_key = eligible_voter_key(rules, cookie, pass_)
    return voter_key is not None and current_ballot(rules, voter_key) is not None
