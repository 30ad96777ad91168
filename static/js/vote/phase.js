/** Where a voter stands, from what is known of the poll, the voter and the outbox. Pure.
 *
 *  gone · waiting (not open yet) · preparing (no cookie yet) · barred (not a voter) · choosing · changing ·
 *  sending · retrying · voted · over */

export function phaseOf({ tally, voter, outbox, mine, changing, gone }) {
  if (gone) return "gone";
  // A ballot on its way comes first, whatever became of the poll meanwhile: it has to be settled.
  if (outbox.pending) return outbox.waiting ? "retrying" : "sending";
  if (tally.state === "draft") return "waiting";
  if (tally.state !== "open") return "over";
  if (mine) return changing ? "changing" : "voted";
  // Who we are was asked when the poll, as a draft, may have had other voters.
  if (voter?.identity !== tally.identity) return "preparing";
  return voter.eligible ? "choosing" : "barred";
}

/** What somebody who may not vote is told: { title, words } of the texts. */
export function barredKeys({ needs, invite, cut = 0 }) {
  if (needs === "login") return { title: "needsLogin", words: "needsLoginText" };
  if (needs === "client") return { title: "needsClient", words: "needsClientText" };
  if (invite === "revoked") return { title: "inviteRevoked", words: "inviteRevokedText" };
  if (invite === "invalid" && cut) return { title: "inviteCut", words: "inviteLength" };
  if (invite === "invalid") return { title: "inviteInvalid", words: "inviteInvalidText" };
  return { title: "needsInvite", words: "needsInviteText" };
}

/** What keeps a selection from being cast: null, or { key, count } of the text that says it. */
export function selectionProblem({ min_selections: min, max_selections: max }, count) {
  if (max === 1) return count ? null : { key: "chooseOne" };
  if (count > max) return { key: "takeAway", count: count - max };
  if (count < min) return count ? { key: "chooseMore", count: min - count } : selectionRule({ min, max });
  return null;
}

/** How many may be chosen. */
export function selectionRule({ min, max, choices = Infinity }) {
  if (max === 1) return { key: "chooseOne" };
  if (min === max) return { key: "chooseExactly", count: max };
  if (min <= 1) return { key: "chooseUpTo", count: max };
  if (max >= choices) return { key: "chooseAtLeast", count: min };
  return { key: "chooseBetween", min, max };
}

/** Which sentence says why a ballot was refused; `unknown`, if an earlier attempt of it may have come in. */
export function refusalKey(code, state, unknown = false) {
  if (unknown && code === "round_changed") return "roundChangedUnsure";
  if (unknown && ["not_eligible", "no_cookies"].includes(code)) return "neverHeard";
  const keys = {
    already_voted: "alreadyVoted",
    ballot_id_reused: "alreadyVoted",
    poll_not_open: state === "draft" ? "notOpenYet" : "closedBefore",
    round_changed: "roundChanged",
    invalid_selection: "invalid",
    malformed: "invalid",
    not_eligible: "notEligible",
    foreign_origin: "foreignOrigin",
    poll_not_found: "gone",
    no_cookies: "noCookies",
  };
  return keys[code] ?? "refused";
}
