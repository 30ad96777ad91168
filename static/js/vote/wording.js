/** Chooses what to tell a voter, as keys of polls/pages/script_messages.py. Pure. */

/** Return { title, words } for a voter who may not vote. `cut`: the length of a refused invite that is too short or long. */
export function barredKeys({ needs, invite }, cut = 0) {
  if (needs === "login") return { title: "needsLogin", words: "needsLoginText" };
  if (needs === "client") return { title: "needsClient", words: "needsClientText" };
  if (invite === "revoked") return { title: "inviteRevoked", words: "inviteRevokedText" };
  if (invite === "invalid" && cut) return { title: "inviteCut", words: "inviteLength" };
  if (invite === "invalid") return { title: "inviteInvalid", words: "inviteInvalidText" };
  return { title: "needsInvite", words: "needsInviteText" };
}

const REFUSALS = {
  already_voted: "alreadyVoted",
  ballot_id_reused: "alreadyVoted",
  round_changed: "roundChanged",
  invalid_selection: "invalid",
  malformed: "invalid",
  not_eligible: "notEligible",
  foreign_origin: "foreignOrigin",
  poll_not_found: "gone",
  no_cookies: "noCookies",
};

/** Return the key for the API's error code of a refusal. `unknown`: an earlier attempt may have been accepted. */
export function refusalKey(code, state, unknown = false) {
  if (unknown && code === "round_changed") return "roundChangedUnsure";
  if (unknown && ["not_eligible", "no_cookies"].includes(code)) return "neverHeard";
  if (code === "poll_not_open") return state === "draft" ? "notOpenYet" : "closedBefore";
  return REFUSALS[code] ?? "refused";
}
