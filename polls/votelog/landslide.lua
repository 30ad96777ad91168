#!lua name=landslide

-- The Redis vote log's one writer. `append` says what polls.votelog.base.decide says; keep
-- them alike. Each call touches the keys of one partition only and runs alone, so that a
-- ballot and a closing gate can't pass each other. Entry first, claim last: a failure
-- between the two can double an entry, never acknowledge one that isn't there.

local CLAIMED = 26 -- bytes a remembered ballot: round (2), ballot_id (16), digest (8)

local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function unpack_gate(text)
  local f = {}
  for part in string.gmatch(text, '[^|]+') do f[#f + 1] = tonumber(part) end
  return { round = f[1], open = f[2] == 1, revote = f[3] == 1, opens_at = f[4],
           closes_at = f[5], closed_at = f[6], marker = f[7] }
end

local function pack_gate(g)
  return string.format('%d|%d|%d|%.0f|%.0f|%.0f|%.0f', g.round, g.open and 1 or 0,
    g.revote and 1 or 0, g.opens_at, g.closes_at, g.closed_at, g.marker)
end

local function gate_of(gates_key, poll_id)
  local text = redis.call('HGET', gates_key, poll_id)
  return text and unpack_gate(text) or nil
end

local function admits(gate, now)
  return gate.open and now >= gate.opens_at and not (gate.closes_at > 0 and now >= gate.closes_at)
end

local function round_at(record, i)
  local hi, lo = string.byte(record, i, i + 1)
  return hi * 256 + lo
end

-- "code|round|repeated", and for a new ballot the round it goes to and the ballot it replaces
local function decide(gate, record, round, ballot_id, digest, replaces, now)
  local size = record and #record or 0
  for i = 1, size, CLAIMED do
    if string.sub(record, i + 2, i + 17) == ballot_id then
      local known = round_at(record, i)
      if string.sub(record, i + 18, i + 25) == digest and (round == 0 or round == known) then
        return 'accepted|' .. known .. '|1'
      end
      return 'ballot_id_reused|0|0'
    end
  end
  if not gate then return 'poll_not_open|0|0' end
  if round ~= 0 and round ~= gate.round then return 'round_changed|0|0' end
  if not admits(gate, now) then return 'poll_not_open|0|0' end
  local current = nil
  for i = size - CLAIMED + 1, 1, -CLAIMED do
    if round_at(record, i) == gate.round then
      current = string.sub(record, i + 2, i + 17)
      break
    end
  end
  if current and not (gate.revote and replaces == current) then return 'already_voted|0|0' end
  return 'accepted|' .. gate.round .. '|0', gate.round, current or ''
end

local function check_head(head_key, generation, counted)
  local head = redis.call('HMGET', head_key, 'generation', 'position')
  if not head[1] or (generation and (head[1] ~= generation or tonumber(head[2]) < tonumber(counted))) then
    return nil
  end
  return tonumber(head[2])
end

-- KEYS: log, head, gates, then the claims of each poll
-- ARGV: generation, counted, remembered, then 8 a ballot:
--       index of its claims key, poll, round or 0, voter, ballot_id, digest, selection, replaces
local function append(keys, args)
  local position = check_head(keys[2], args[1], args[2])
  if not position then return redis.error_reply('INCONSISTENT') end
  local keep = tonumber(args[3]) * CLAIMED
  local now = now_ms()
  local gates, outcomes = {}, {}
  for i = 4, #args, 8 do
    local claims_key, poll_id, voter = keys[4 + tonumber(args[i])], args[i + 1], args[i + 3]
    if gates[poll_id] == nil then gates[poll_id] = gate_of(keys[3], poll_id) or false end
    local record = redis.call('HGET', claims_key, voter)
    local verdict, round, replaced = decide(gates[poll_id], record, tonumber(args[i + 2]),
      args[i + 4], args[i + 5], args[i + 7], now)
    if round then
      position = position + 1
      redis.call('XADD', keys[1], string.format('%.0f-0', position),
        'p', poll_id, 'r', round, 't', string.format('%.0f', now),
        'v', voter, 'b', args[i + 4], 's', args[i + 6], 'x', replaced)
      redis.call('HSET', keys[2], 'position', string.format('%.0f', position))
      local claim = (record or '') .. string.char(math.floor(round / 256), round % 256)
        .. args[i + 4] .. args[i + 5]
      redis.call('HSET', claims_key, voter, string.sub(claim, -keep))
    end
    outcomes[#outcomes + 1] = verdict
  end
  return outcomes
end

-- ARGV: poll, round, packed gate
local function open(keys, args)
  local gate, round = gate_of(keys[3], args[1]), tonumber(args[2])
  if not gate or round > gate.round or (round == gate.round and gate.closed_at == 0) then
    redis.call('HSET', keys[3], args[1], args[3])
  end
  return redis.status_reply('OK')
end

-- ARGV: poll, round. Answers {position of the marker, closing time}, or nothing where a later round is on.
local function close(keys, args)
  local gate, round = gate_of(keys[3], args[1]), tonumber(args[2])
  if not gate or gate.round < round then
    gate = { round = round, open = false, revote = false, opens_at = 0, closes_at = 0, closed_at = 0, marker = 0 }
  end
  if gate.round > round then return {} end
  if gate.closed_at == 0 then
    local position = check_head(keys[2])
    if not position then return redis.error_reply('INCONSISTENT') end
    local now = now_ms()
    gate.marker = position + 1
    gate.closed_at = gate.closes_at > 0 and math.min(now, gate.closes_at) or now
    gate.open = false
    redis.call('XADD', keys[1], string.format('%.0f-0', gate.marker),
      'p', args[1], 'r', round, 'c', string.format('%.0f', gate.closed_at))
    redis.call('HSET', keys[2], 'position', string.format('%.0f', gate.marker))
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

-- ARGV: generation, position
local function make(keys, args)
  if redis.call('EXISTS', keys[2]) == 0 then
    redis.call('HSET', keys[2], 'generation', args[1], 'position', args[2])
  end
  return redis.status_reply('OK')
end

redis.register_function('landslide_append', append)
redis.register_function('landslide_open', open)
redis.register_function('landslide_close', close)
redis.register_function('landslide_reset', reset)
redis.register_function('landslide_make', make)
