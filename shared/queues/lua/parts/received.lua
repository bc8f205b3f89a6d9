-- Receiving, the same in standard and FIFO queues.
local DEAD_FLIGHT_MS = 30000
local s = redis.call('HMGET', SETTINGS, 'revision', 'deleted', 'visibility_ms', 'wait_ms', 'retention_ms', 'in_flight_max',
  'dead_letters', 'receives_max', 'delay_ms')
if not s[1] then
  return {s[2] and 'd' or 'u'}
end
local visibility, wait = tonumber(ARGV[3]) or tonumber(s[3]), tonumber(ARGV[4]) or tonumber(s[4])
local receives_max = ARGV[5] == '1' and tonumber(s[8]) or math.huge
local reply = {'m', -1, wait, 0, s[7] or ''}

-- Of how many the caller may have, as many as may be in flight.
local function wanted()
  local room = tonumber(s[6]) - redis.call('ZCOUNT', FLIGHT, '(' .. text(now), '+inf')
  if room <= 0 then
    reply[4] = 1
  end
  return math.max(0, math.min(tonumber(ARGV[2]), room))
end

local now_text = text(now)
local due_text, dead_due_text = text(now + visibility), text(now + math.max(visibility, DEAD_FLIGHT_MS))

-- A message is in flight from now on: what FLIGHT and RECEIVED are to get is put behind `flights` and `notes`.
-- known: what RECEIVED has of it. -> whether it is a dead letter.
local function receive(entry, known, group, flights, notes)
  local count, first = 0, now_text
  if known then
    count, first = string.match(known, '^(%d+)|(%d+)')
    count = tonumber(count)
  end
  local dead = count >= receives_max
  local id, f, n, r = entry[1], #flights, #notes, #reply
  flights[f + 1], flights[f + 2] = dead and dead_due_text or due_text, id
  notes[n + 1], notes[n + 2] = id, count + 1 .. '|' .. first .. '|' .. now_text .. '|' .. group
  reply[r + 1], reply[r + 2], reply[r + 3], reply[r + 4], reply[r + 5] = id, count + 1, first, dead and 1 or 0, entry[2]
  return dead
end

-- Who finds nothing waits, and is told.
local function found_nothing(due)
  local soonest = redis.call('ZRANGEBYSCORE', FLIGHT, '(' .. text(now), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]
  due = math.min(due or math.huge, tonumber(soonest or math.huge))
  if due < math.huge then
    reply[2] = math.max(0, due - now)
  end
  if wait > 0 then
    local waiting = tonumber(redis.call('HGET', STATE, 'waiting') or 0)
    if now + wait > waiting then
      redis.call('HSET', STATE, 'waiting', text(now + wait))
    end
  end
end
