"""The tables of the app, a module per subject. Table and column names are public and stay.

Start with `poll.py` (Poll, Choice, Round), then `ballots.py` (the ledger and the dead letters).
This package may import `polls.methods`, `polls.keys` and `polls.text`.
"""

from polls.models.audit_log import Record

from .access import ApiClient, EndedAccount, Installation, InviteBatch
from .ballots import Ballot, DeadLetter
from .log_tables import Claim, LogEntry, LogGate, LogHead
from .poll import (
    CODE_RULE,
    Choice,
    Identity,
    OverLimit,
    Poll,
    ProofOfWork,
    ReceiptFormat,
    Round,
    State,
    Visibility,
    canonical_code,
    new_code,
    new_secret,
)

__all__ = [
    "CODE_RULE",
    "ApiClient",
    "Ballot",
    "Choice",
    "Claim",
    "DeadLetter",
    "EndedAccount",
    "Identity",
    "Installation",
    "InviteBatch",
    "LogEntry",
    "LogGate",
    "LogHead",
    "OverLimit",
    "Poll",
    "ProofOfWork",
    "ReceiptFormat",
    "Record",
    "Round",
    "State",
    "Visibility",
    "canonical_code",
    "new_code",
    "new_secret",
]
