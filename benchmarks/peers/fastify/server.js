// The same work as for a ballot in Landslide: check the body by a JSON schema, the voter's signed cookie, the
// round and the choice, and answer 202 once Redis has it on disk. ioredis sends the commands of one event
// loop turn as one pipeline, which groups appends. It doesn't check whether the voter has already voted.
import { createHmac, randomUUID, timingSafeEqual } from "node:crypto";
import Fastify from "fastify";
import Redis from "ioredis";

const redis = new Redis(process.env.REDIS_URL, { enableAutoPipelining: true });
const secret = process.env.SECRET_KEY;
const polls = new Map([["DEMO", { round: 1, choices: 5 }]]);

const ballot = {
  type: "object",
  required: ["selections"],
  additionalProperties: false,
  properties: {
    selections: { type: "array", minItems: 1, maxItems: 1, items: { type: "integer", minimum: 1, maximum: 99 } },
    ballot_id: { type: "string", format: "uuid" },
    round: { type: "integer", minimum: 1 },
    replaces: { type: "string", format: "uuid" },
  },
};
const accepted = {
  202: {
    type: "object",
    properties: { ballot_id: { type: "string" }, receipt: { type: "string" }, status: { type: "string" } },
  },
};

const mac = (text) => createHmac("sha256", secret).update(text).digest();

/** The voter of a cookie `token.signature` that we signed, or null. */
function voterOf(header) {
  const found = /(?:^|; )voter=([^;.]+)\.([^;]+)/.exec(header ?? "");
  if (!found) return null;
  const given = Buffer.from(found[2], "base64url");
  const right = mac(found[1]);
  return given.length === right.length && timingSafeEqual(given, right) ? found[1] : null;
}

const problem = (reply, status, code) =>
  reply.code(status).type("application/problem+json").send(JSON.stringify({ type: "about:blank", status, code }));

const app = Fastify({ bodyLimit: 16 * 1024 });

app.post("/api/v1/polls/:code/ballots/", { schema: { body: ballot, response: accepted } }, async (request, reply) => {
  const { code } = request.params;
  const poll = polls.get(code);
  if (!poll) return problem(reply, 404, "poll_not_found");
  const voter = voterOf(request.headers.cookie);
  if (!voter) return problem(reply, 401, "voter_unknown");
  const { selections, round, ballot_id: ballotId = randomUUID() } = request.body;
  if (round !== undefined && round !== poll.round) return problem(reply, 409, "round_changed");
  if (selections[0] > poll.choices) return problem(reply, 400, "invalid_selection");
  await redis.xadd(
    `log:${code}`, "*", "voter", voter, "ballot", ballotId, "round", poll.round, "selection", selections.join(","),
  );
  const receipt = mac(`${code}|${poll.round}|${voter}|${ballotId}`).toString("base64url");
  return reply.code(202).send({ ballot_id: ballotId, receipt, status: "accepted" });
});

await app.listen({ host: "127.0.0.1", port: Number(process.env.PORT) });
