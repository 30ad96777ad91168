"""The texts of the pages' scripts, translated on the server and sent with the page.

A text with a number in it is a function of that number, so that gettext chooses the plural form. `catalogue`
calls it once per plural category, and the browser chooses by `Intl.PluralRules`.
"""

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from polls.methods import METHODS
from polls.models import Identity

Texts = Mapping[str, Any]  # lazy strings, and functions that return the string for a number

#: A number for each CLDR plural category. In every language with that category, the number belongs to it.
REPRESENTATIVES = {"zero": 0, "one": 1, "two": 2, "few": 3, "many": 11, "other": 100}

#: Who may vote and what counts as one voter. The texts promise no more than the identity policy enforces.
ASSURANCE = {
    Identity.BROWSER: _("Anyone can vote: one ballot per browser."),
    Identity.LOGIN: _("Signed in: one ballot per account."),
    Identity.INVITE: _("By invitation: one ballot per invite."),
    Identity.CLIENT: _("In another app: one ballot per voter that it names."),
}

COMMON: Texts = {
    **{key: text for method in METHODS.values() for key, text in method.texts.items()},
    **{f"assure{identity.capitalize()}": text for identity, text in ASSURANCE.items()},
    "live": _("Live"),
    "reconnecting": _("Reconnecting"),
    "offline": _("Offline"),
    "notOpen": _("This poll isn't open yet"),
    "opensIn": _("Opens in %(time)s."),
    "opensOn": _("Opens on %(time)s."),
    "opensSoon": _("It opens in a moment."),
    "opensByItself": _("You can leave this page open: voting starts here by itself."),
    "opened": _("Voting is open."),
    "closesIn": _("Closes in %(time)s"),
    "closesAt": _("Closes at %(time)s"),
    "closesOn": _("Closes on %(time)s"),
    "closesSoon": _("Closing now"),
    "closing": _("Voting has closed. The last ballots are being counted."),
    "closed": _("Voting is closed."),
    "closedAt": _("Voting closed at %(time)s."),
    "closedOn": _("Voting closed on %(time)s."),
    "finalResult": _("Final result"),
    "officialResult": _("Official result"),
    "winner": _("Winner: %(choices)s"),
    "tiedFirst": _("Tied for first: %(choices)s"),
    "more": lambda n: ngettext("%(count)s more", "%(count)s more", n),
    "ballots": lambda n: ngettext("%(count)s ballot", "%(count)s ballots", n),
    "setAside": lambda n: ngettext(
        "%(count)s ballot set aside for review", "%(count)s ballots set aside for review", n
    ),
    "setAsideWithheld": _("Their votes are hidden, because they would reveal single ballots."),
    "noBallots": _("No ballots yet."),
    "noBallotsCounted": _("No ballots are counted."),
    "inSteps": lambda n: ngettext(
        "Results appear in steps of %(count)s ballot.", "Results appear in steps of %(count)s ballots.", n
    ),
    "setAsideHead": _("Set aside"),
    "sharesRounded": _("Shares are rounded."),
    "showResults": _("Show results"),
    "hideResults": _("Hide results"),
    "loading": _("Fetching the results…"),
    "hiddenAfterVote": _("Results show once you have cast your ballot."),
    "hiddenAfterClose": _("Results show when voting closes."),
    "hiddenStaff": _("The organiser hides the results for now."),
    "notReached": _("We can't reach the server. These figures are from %(time)s; we keep trying."),
    "unreachable": _("We can't reach the server. We keep trying; there is no need to reload."),
    "gone": _("There is no poll with this code any more."),
    "day": lambda n: ngettext("%(count)s day", "%(count)s days", n),
}

VOTE: Texts = {
    "nothingChosen": _("Nothing chosen yet."),
    "preparing": _("Getting ready…"),
    "preparingSlow": _("We can't reach the server yet. You can choose already; we keep trying."),
    "cast": _("Cast my ballot"),
    "castChange": _("Cast the change"),
    "keep": _("Keep it"),
    "casting": _("Casting…"),
    "proving": _("Checking that you are not a robot. This takes about a second."),
    "ballotIn": _("Your ballot is in"),
    "changeIn": _("Your changed ballot is in"),
    "ballotInText": _("Thank you. You can stay and watch."),
    "ballotCounts": _("It is part of the result."),
    "ballotWaits": _("It isn't counted yet. That takes a moment, or the organiser has to review it first."),
    "ballotIsIn": _("Voting has closed. Check the receipt to see whether it was counted."),
    "statusQuarantined": _("Your ballot is set aside for review"),
    "statusQuarantinedText": _(
        "The organiser is reviewing some ballots, including yours. It is counted in a second tally and isn't"
        " part of the result unless it is released."
    ),
    "statusReplaced": _("You replaced this ballot with a later one"),
    "statusReplacedText": _("Check the receipt of the later ballot."),
    "statusRejected": _("Your ballot was rejected"),
    "statusRejectedText": _("The organiser reviewed it and decided not to count it."),
    "statusPurged": _("Your ballot was cast"),
    "statusPurgedText": _(
        "The link between ballots and receipts was destroyed to protect the voters. Look for your receipt in"
        " the published list."
    ),
    "statusUnknown": _("The server doesn't know your ballot"),
    "statusUnknownText": _("We can't find it in the count. Keep the receipt and tell the organiser."),
    "marksKept": _("Your choices are still here. They aren't cast yet."),
    "tooLate": _("Voting has ended. You can watch the result here."),
    "copy": _("Copy"),
    "copied": _("Copied"),
    "copyByHand": _("Selected: copy it now"),
    "change": _("Change it"),
    "onTheirWay": _("The results are on their way."),
    "unknownTitle": _("Not sure whether your ballot is in"),
    "unknown": _(
        "The server didn't tell us in time. Your ballot is kept here and will be sent again;"
        " it will count once."
    ),
    "busyTitle": _("Your ballot is waiting"),
    "busy": _(
        "Many people are voting right now. Your ballot is kept here and will be sent again by itself;"
        " it will count once."
    ),
    "held": _(
        "Voting is held up for a moment. Your ballot is kept here and will be sent again by itself;"
        " it will count once."
    ),
    "nextTry": lambda n: ngettext("Next try in %(count)s second.", "Next try in %(count)s seconds.", n),
    "sendNow": _("Send it now"),
    "alreadyVoted": _("You had already cast a ballot, and it still counts. This one was not counted."),
    "notOpenYet": _("Voting isn't open, so your ballot was not counted. You can cast it when voting opens."),
    "closedBefore": _("Voting closed before your ballot arrived. It was not counted."),
    "roundChanged": _("The poll was restarted. Your ballot was not counted; please vote again."),
    "roundChangedUnsure": _(
        "The poll was restarted before we heard whether your ballot was in. Please vote again."
    ),
    "neverHeard": _("We don't know whether this ballot is in, and can no longer find out."),
    "newRound": _("The poll was restarted. You can vote again."),
    "invalid": _("This ballot doesn't fit the poll. Check what you chose and cast it again."),
    "notEligible": _("You are not among this poll's voters, so your ballot was not counted."),
    "signedInAs": _("Signed in as %(account)s: one ballot per account."),
    "needsLogin": _("This poll is for people with an account"),
    "needsLoginText": _("Sign in to vote. You have one ballot, on any device."),
    "needsInvite": _("You need an invite to vote"),
    "needsInviteText": _(
        "Open the link in your invitation or paste it here. It lets you vote once. If you came here by that"
        " link, the part after # was lost on the way."
    ),
    "inviteAccepted": _("Invite accepted: one ballot per invite."),
    "inviteInvalid": _("This invite is not valid here"),
    "inviteInvalidText": _(
        "It may be for another poll, or have a wrong character. Paste the whole link as it was sent to you,"
        " or ask the organiser."
    ),
    "inviteCut": _("This invite is cut off"),
    "inviteLength": _(
        "An invite's code has 32 characters, and this one has %(count)s. Paste the whole link as it was"
        " sent to you."
    ),
    "inviteNone": _("Paste your invite first."),
    "inviteLost": _(
        "This link has no invite in it: the part after # is missing. If the link in your invitation looks"
        " the same, ask the organiser for the invite's code."
    ),
    "inviteNotOne": _(
        "This is not an invite. Paste the link that was sent to you, or the code after #i= in it."
    ),
    "inviteElsewhere": _("This invite is for another poll, %(poll)s. Open its link to vote there."),
    "inviteShown": _("Checking your invite…"),
    "inviteRevoked": _("This invite was withdrawn"),
    "inviteRevokedText": _("Nobody can vote with it any more. Ask the organiser for another one."),
    "inviteUsed": _("This invite's ballot is in"),
    "inviteUsedText": _("It was cast with your invite, on this device or another one."),
    "inviteUsedCounted": _("It was cast with your invite, on this device or another one, and it is counted."),
    "needsClient": _("Voting happens in another app"),
    "needsClientText": _("You can follow the poll here."),
    "keptForYou": _(
        "Your ballot is kept on this device. It will be sent once you sign in or open your invite again."
    ),
    "foreignOrigin": _(
        "Ballots can't be cast from this address. Ask the organiser for the address of the poll."
    ),
    "noCookies": _(
        "Your browser doesn't keep cookies for this page. Allow them, then cast your ballot again."
    ),
    "refused": _("The server refused this ballot (%(code)s). It was not counted."),
    "elsewhere": _("You cast your ballot in another window."),
}


def catalogue(*parts: Texts) -> dict[str, str | dict[str, str]]:
    """Return the texts in the active language, ready for JSON: a string, or a string per plural category."""
    return {key: _resolved(text) for part in parts for key, text in part.items()}


def _resolved(text: Any) -> str | dict[str, str]:
    if not callable(text):
        return str(text)
    forms = {category: text(number) for category, number in REPRESENTATIVES.items()}
    return {
        category: form for category, form in forms.items() if category == "other" or form != forms["other"]
    }
