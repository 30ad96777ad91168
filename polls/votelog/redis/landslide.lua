#!lua name=landslide

-- The only writer of the Redis vote log. `decide` does the same as polls.votelog.admission.decide: change both.
-- A call uses the keys of one partition and runs alone, so no ballot is accepted after its gate has closed. The
-- entry is written first, then the claim. After a failure in between, an entry may be written twice, but no
-- ballot is acknowledged that isn't in the log.
--
-- Ballots are passed and stored as columns: strings of n parts of equal length. A stream entry holds all
-- ballots of a poll that one call accepted. Its ID is the position of the last one.

local FORMAT = '2'    -- of the keys; a log in another format is refused until it is rebuilt
local CLAIMED = 22    -- bytes per ballot in a claim: round (2), ballot_id (16), digest (4)
local FIELD = 8       -- bytes of a voter_key that identify its claim within a poll
local TOLERANCE = 5000  -- milliseconds by which the clock may go back when it is adjusted
local BUCKET = 96     -- claims per hash on average: few enough that Redis stores the hash as a listpack

local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function unpack_gate(text)
  local f = {}
  for part in string.gmatch(text, '[^|]+') do f[#f + 1] = tonumber(part) end
  return { round = f[1], open = f[2] == 1, revote = f[3] == 1, opens_at = f[4],
           closes_at = f[5], closed_at = f[6], marker = f[7], expected = f[8] or 0 }
end

local function pack_gate(g)
  return string.format('%d|%d|%d|%.0f|%.0f|%.0f|%.0f|%.0f', g.round, g.open and 1 or 0,
    g.revote and 1 or 0, g.opens_at, g.closes_at, g.closed_at, g.marker, g.expected)
end

local function gate_of(gates_key, poll_id)
  local text = redis.call('HGET', gates_key, poll_id)
  return text and unpack_gate(text) or nil
end

local function admits(gate, now)
  return gate.open and now >= gate.opens_at and not (gate.closes_at > 0 and now >= gate.closes_at)
end

local function two_bytes(text, i)
  local hi, lo = string.byte(text, i, i + 1)
  return hi * 256 + lo
end

-- The claims of a poll are in `buckets` hashes named `<key>:<n>`. They grow by linear hashing: when the
-- average size exceeds BUCKET, the next bucket in turn is split in two. So growing never causes a long pause.
-- `half` is the largest power of two up to `buckets`.

local function claims_of(key)
  local meta = redis.call('HMGET', key, 'count', 'buckets')
  local claims = { key = key, count = tonumber(meta[1] or 0), buckets = tonumber(meta[2] or 1), half = 1 }
  while claims.half * 2 <= claims.buckets do claims.half = claims.half * 2 end
  return claims
end

local function hash_of(field)
  local a, b, c, d = string.byte(field, FIELD - 3, FIELD)
  return ((a * 256 + b) * 256 + c) * 256 + d
end

local function bucket_of(claims, field)
  local hash = hash_of(field)
  local n = hash % (claims.half * 2)
  if n >= claims.buckets then n = hash % claims.half end
  return claims.key .. ':' .. n
end

local function split_bucket(claims)
  local from, to = claims.key .. ':' .. (claims.buckets - claims.half), claims.key .. ':' .. claims.buckets
  local all, moved, gone = redis.call('HGETALL', from), {}, {}
  for i = 1, #all, 2 do
    if hash_of(all[i]) % (claims.half * 2) == claims.buckets then
      moved[#moved + 1], moved[#moved + 2], gone[#gone + 1] = all[i], all[i + 1], all[i]
    end
  end
  -- In this order, so that after an error at any point, each claim is in the bucket that `buckets` implies.
  for i = 1, #moved, 1000 do redis.call('HSET', to, unpack(moved, i, math.min(i + 999, #moved))) end
  claims.buckets = claims.buckets + 1
  redis.call('HSET', claims.key, 'buckets', claims.buckets)
  for i = 1, #gone, 500 do redis.call('HDEL', from, unpack(gone, i, math.min(i + 499, #gone))) end
  if claims.buckets == claims.half * 2 then claims.half = claims.buckets end
end

-- `records`: field -> claim; `added` of them are new
local function write_claims(claims, records, added)
  for field, record in pairs(records) do redis.call('HSET', bucket_of(claims, field), field, record) end
  if added > 0 then
    claims.count = claims.count + added
    redis.call('HSET', claims.key, 'count', claims.count, 'buckets', claims.buckets)
    while claims.count > claims.buckets * BUCKET do split_bucket(claims) end
  end
end

-- Returns the verdict as a letter, the round of an accepted ballot, and the ballot_id that it replaces.
-- A: accepted, R: repeated, B: ballot_id_reused, N: poll_not_open, C: round_changed, V: already_voted.
-- `append_poll` turns A into O (overloaded) while the backlog is full.
local function decide(gate, record, round, ballot_id, digest, replaces, now)
  local size = record and #record or 0
  for i = 1, size, CLAIMED do
    if string.sub(record, i + 2, i + 17) == ballot_id then
      local known = two_bytes(record, i)
      if string.sub(record, i + 18, i + 21) == digest and (round == 0 or round == known) then
        return 'R', known
      end
      return 'B'
    end
  end
  if not gate then return 'N' end
  if round ~= 0 and round ~= gate.round then return 'C' end
  if not admits(gate, now) then return 'N' end
  for i = size - CLAIMED + 1, 1, -CLAIMED do
    if two_bytes(record, i) == gate.round then
      local current = string.sub(record, i + 2, i + 17)
      if gate.revote and replaces == current then return 'A', gate.round, current end
      return 'V'
    end
  end
  return 'A', gate.round
end

local function check_head(head_key, now, generation, counted)
  local head = redis.call('HMGET', head_key, 'generation', 'position', 'format', 'at')
  if not head[1] or head[3] ~= FORMAT then return nil end
  if generation and (head[1] ~= generation or tonumber(head[2]) < tonumber(counted)) then return nil end
  -- Gates open and close by the clock. If it went back, a closed poll could be open again.
  if head[4] and now < tonumber(head[4]) - TOLERANCE then return nil end
  return tonumber(head[2])
end

-- The heads that were compared with the database since this server started or took over. A log that wasn't
-- compared may be an older copy, and new entries would hide that others are missing. This table is in memory
-- only, so that a restart clears it.
local compared = {}

-- KEYS: log, head, gates. ARGV: generation, counted position, position written by the caller
local function compare(keys, args)
  local position = check_head(keys[2], now_ms(), args[1], args[2])
  if not position or position < tonumber(args[3]) then return redis.error_reply('INCONSISTENT') end
  compared[keys[2]] = true
  return redis.status_reply('OK')
end

-- The parts of a column at the picked indexes.
local function column(text, picked, size)
  if #picked * size == #text then return text end
  local parts = {}
  for i = 1, #picked do parts[i] = string.sub(text, (picked[i] - 1) * size + 1, picked[i] * size) end
  return table.concat(parts)
end

-- Appends the ballots of one poll. The arguments from poll_id on, with bytes per ballot: voters (16),
-- ballot_ids (16), rounds (2; 0: any), picks (2; index in the selections, from 1), digests of the selections
-- (4 each), the selections (MessagePack, stored as they are), replaces (17: '\1' and a ballot_id, or '\0' and
-- anything; '' if no ballot replaces one), and the rule that quarantines all of these ballots, or ''.
local function append_poll(keys, claims_key, position, keep, now, full, poll_id, voters, ballot_ids, rounds,
                           picks, digests, selections, replaces, quarantine_rule)
  local gate, claims = gate_of(keys[3], poll_id), claims_of(claims_key)
  local verdicts, known_rounds = {}, {}
  local picked, replaced, replaces_any = {}, {}, false
  local records, added, round_bytes = {}, 0, ''
  if gate then round_bytes = string.char(math.floor(gate.round / 256), gate.round % 256) end
  for i = 1, #voters / 16 do
    local field = string.sub(voters, i * 16 - FIELD + 1, i * 16)
    local record = records[field] or redis.call('HGET', bucket_of(claims, field), field)
    local ballot_id = string.sub(ballot_ids, i * 16 - 15, i * 16)
    local pick = two_bytes(picks, i * 2 - 1)
    local digest = string.sub(digests, pick * 4 - 3, pick * 4)
    local replaces_id = nil
    if #replaces > 0 and string.byte(replaces, i * 17 - 16) == 1 then
      replaces_id = string.sub(replaces, i * 17 - 15, i * 17)
    end
    local verdict, round, current =
      decide(gate, record, two_bytes(rounds, i * 2 - 1), ballot_id, digest, replaces_id, now)
    if full and verdict == 'A' then verdict = 'O' end
    verdicts[i] = verdict
    if verdict == 'A' then
      picked[#picked + 1] = i
      replaced[#replaced + 1] = current and ('\1' .. current) or string.rep('\0', 17)
      replaces_any = replaces_any or current
      if not record then added = added + 1 end
      records[field] = string.sub((record or '') .. round_bytes .. ballot_id .. digest, -keep)
    elseif verdict == 'R' then
      known_rounds[#known_rounds + 1] = round
    end
  end
  if #picked > 0 then
    position = position + #picked
    local fields = {
      'p', poll_id, 'r', gate.round, 't', string.format('%.0f', now), 'n', #picked,
      'v', column(voters, picked, 16), 'b', column(ballot_ids, picked, 16),
      'i', column(picks, picked, 2), 's', selections, 'x', replaces_any and table.concat(replaced) or '' }
    if quarantine_rule ~= '' then fields[#fields + 1], fields[#fields + 2] = 'q', quarantine_rule end
    redis.call('XADD', keys[1], string.format('%.0f-0', position), unpack(fields))
    redis.call('HSET', keys[2], 'position', string.format('%.0f', position), 'at', string.format('%.0f', now))
    write_claims(claims, records, added)
  end
  return position, { table.concat(verdicts), gate and gate.round or 0, table.concat(known_rounds, ',') }
end

-- KEYS: log, head, gates, then the claims of each poll
-- ARGV: generation, counted position, ballots per claim, limit of the backlog, position written by the caller,
-- then 9 per poll (see above). Returns the position of the last entry, and for each poll {verdicts, the round
-- of accepted ballots, the rounds of repeated ones}.
local function append(keys, args)
  local now = now_ms()
  local position = check_head(keys[2], now, args[1], args[2])
  if not position then return redis.error_reply('INCONSISTENT') end
  if not compared[keys[2]] then return redis.error_reply('UNCOMPARED') end
  -- This is an older copy of the log. The database can't show it: the missing entries weren't counted.
  if position < tonumber(args[5]) then return redis.error_reply('INCONSISTENT') end
  -- While the backlog is full, only new ballots are refused. A retry of an accepted ballot gets its answer.
  local full = position - tonumber(args[2]) >= tonumber(args[4])
  local keep, answers = tonumber(args[3]) * CLAIMED, {}
  for k = 4, #keys do
    local i, answer = 6 + (k - 4) * 9, nil
    position, answer = append_poll(keys, keys[k], position, keep, now, full, args[i], args[i + 1],
      args[i + 2], args[i + 3], args[i + 4], args[i + 5], args[i + 6], args[i + 7], args[i + 8])
    answers[#answers + 1] = answer
  end
  table.insert(answers, 1, string.format('%.0f', position))
  return answers
end

-- KEYS: log, head, gates, claims. ARGV: voter_key. Returns the packed claim.
local function find(keys, args)
  local field = string.sub(args[1], -FIELD)
  return redis.call('HGET', bucket_of(claims_of(keys[4]), field), field)
end

-- KEYS: log, head, gates, claims. ARGV: ballots per claim, then for each claim voter_key and packed ballots.
local function restore(keys, args)
  local keep, claims, records, added = tonumber(args[1]) * CLAIMED, claims_of(keys[4]), {}, 0
  for i = 2, #args, 2 do
    local field = string.sub(args[i], -FIELD)
    local record = records[field] or redis.call('HGET', bucket_of(claims, field), field)
    if not record then added = added + 1 end
    records[field] = string.sub((record or '') .. args[i + 1], -keep)
  end
  write_claims(claims, records, added)
  return redis.status_reply('OK')
end

-- KEYS: log, head, gates, claims. ARGV: poll, round, packed gate, expected voters in this partition
local function open(keys, args)
  local gate, round = gate_of(keys[3], args[1]), tonumber(args[2])
  if not gate or round > gate.round or (round == gate.round and gate.closed_at == 0) then
    redis.call('HSET', keys[3], args[1], args[3])
    local buckets = math.ceil(tonumber(args[4]) / BUCKET)
    -- Only if there are no claims yet, since they wouldn't be found with another number of buckets.
    if buckets > 1 and redis.call('EXISTS', keys[4]) == 0 then
      redis.call('HSET', keys[4], 'count', 0, 'buckets', buckets)
    end
  end
  return redis.status_reply('OK')
end

-- ARGV: poll, round. Returns {position of the marker, closing time}, or {} if a later round has begun.
local function close(keys, args)
  local gate, round = gate_of(keys[3], args[1]), tonumber(args[2])
  if not gate or gate.round < round then
    gate = { round = round, open = false, revote = false, opens_at = 0, closes_at = 0, closed_at = 0,
             marker = 0, expected = 0 }
  end
  if gate.round > round then return {} end
  if gate.closed_at == 0 then
    local now = now_ms()
    local position = check_head(keys[2], now)
    if not position then return redis.error_reply('INCONSISTENT') end
    if not compared[keys[2]] then return redis.error_reply('UNCOMPARED') end
    gate.marker = position + 1
    gate.closed_at = gate.closes_at > 0 and math.min(now, gate.closes_at) or now
    gate.open = false
    redis.call('XADD', keys[1], string.format('%.0f-0', gate.marker),
      'p', args[1], 'r', round, 'c', string.format('%.0f', gate.closed_at))
    redis.call('HSET', keys[2], 'position', string.format('%.0f', gate.marker), 'at', string.format('%.0f', now))
    redis.call('HSET', keys[3], args[1], pack_gate(gate))
  end
  return { gate.marker, gate.closed_at }
end

-- ARGV: poll, round, packed gate
local function reset(keys, args)
  local gate = gate_of(keys[3], args[1])
  if not gate or gate.round < tonumber(args[2]) then
    redis.call('HSET', keys[3], args[1], args[3])
  end
  return redis.status_reply('OK')
end

-- The position before the first remaining entry.
local function trimmed_to(keys)
  local first = redis.call('XRANGE', keys[1], '-', '+', 'COUNT', 1)[1]
  if not first then return tonumber(redis.call('HGET', keys[2], 'position') or 0) end
  local entries = 1  -- of a marker; ballots have their number in 'n'
  for i = 1, #first[2], 2 do
    if first[2][i] == 'n' then entries = tonumber(first[2][i + 1]) end
  end
  return tonumber(string.match(first[1], '%d+')) - entries
end

-- ARGV: position up to which to delete entries. The head stores how far the log was trimmed. A database that
-- has counted less is older than the log.
local function trim(keys, args)
  -- MINID, because MAXLEN would delete entries that aren't counted yet. Exact ('='), because entries show the
  -- order in which people voted, and should be kept no longer than needed.
  redis.call('XTRIM', keys[1], 'MINID', '=', string.format('%.0f-0', tonumber(args[1]) + 1))
  redis.call('HSET', keys[2], 'trimmed', string.format('%.0f', trimmed_to(keys)))
  return redis.status_reply('OK')
end

-- ARGV: generation, position
local function make(keys, args)
  if redis.call('EXISTS', keys[2]) == 0 then
    redis.call('HSET', keys[2], 'generation', args[1], 'position', args[2], 'format', FORMAT)
    compared[keys[2]] = true
  end
  return redis.status_reply('OK')
end

-- Counts casts for a rate limit. KEYS: prefix of the window keys. ARGV: seconds, limit, then for each key of the
-- limit its name and number of casts. Returns {milliseconds to the end of the window, indexes in ARGV, from 0,
-- of the keys over the limit}.
local function count(keys, args)
  local length, most, now = tonumber(args[1]) * 1000, tonumber(args[2]), now_ms()
  local window, left, over = math.floor(now / length), length - now % length, {}
  local this = string.format('%s:%.0f', keys[1], window)
  local last = string.format('%s:%.0f', keys[1], window - 1)
  for i = 3, #args, 2 do
    local casts = redis.call('HINCRBY', this, args[i], args[i + 1])
    local before = tonumber(redis.call('HGET', last, args[i]) or 0)
    if casts + before * left / length > most then over[#over + 1] = i - 1 end
  end
  redis.call('PEXPIRE', this, length * 2)
  return { left, over }
end

redis.register_function('landslide_append', append)
redis.register_function('landslide_compare', compare)
redis.register_function('landslide_count', count)
redis.register_function { function_name = 'landslide_find', callback = find, flags = { 'no-writes' } }
redis.register_function('landslide_restore', restore)
redis.register_function('landslide_open', open)
redis.register_function('landslide_close', close)
redis.register_function('landslide_reset', reset)
redis.register_function('landslide_make', make)
-- Allowed while memory is full, since it frees memory.
redis.register_function { function_name = 'landslide_trim', callback = trim, flags = { 'allow-oom' } }
