#!lua flags=allow-oom
-- Receive messages of a FIFO queue: of a group in their order, and none while its first one is in flight.
-- KEYS parts/start.lua, FIFO: 10
-- ARGV[2] messages wanted   3 visibility in ms ("": the queue's)   4 how long the caller waits when there is none, ms ("": the
--       queue's)   5 "1": dead letters are marked
--       6 receive attempt id ("": none): the same one within 5 minutes gives the same messages, if nothing happened to them
-- Reply {"m", due, wait, over, dead-letter ARN or "", then of each: entry, receives, first receive in ms, dead, fields}
--         due: in how many ms one may be visible, -1 unknown; wait: how long the caller is to wait, ms; over: 1 when as many are
--         in flight as may be; dead: 1 for a dead letter, which is in flight for 30 s or more and is to be moved
--       {"u"} no settings: install them; {"d"} the queue was deleted
-- include start
-- include sent
-- include fifo
-- include received
local delay = tonumber(s[9])
keep(tonumber(s[5]), delay)

-- The messages of an earlier attempt are in flight anew, under the same receipt handles. -> whether they still were.
local function again(answer)
  local entries = {}
  for id, count in string.gmatch(answer, '(%S+):(%d+)') do
    local known = redis.call('HGET', RECEIVED, id)
    local entry = redis.call('XRANGE', STREAM, id, id)[1]
    if not entry or not redis.call('ZSCORE', FLIGHT, id) or string.match(known or '', '^%d+') ~= count then
      return false
    end
    entries[#entries + 1] = {entry, known}
  end
  for _, each in ipairs(entries) do
    local id = each[1][1]
    local count, first, group = string.match(each[2], '^(%d+)|(%d+)|%d+|(.*)$')
    redis.call('ZADD', FLIGHT, text(now + visibility), id)
    redis.call('HSET', RECEIVED, id, count .. '|' .. first .. '|' .. text(now) .. '|' .. group)
    for _, word in ipairs({id, tonumber(count), first, 0, each[1][2]}) do
      reply[#reply + 1] = word
    end
  end
  return #entries > 0
end

-- Without a delay no time is compared: a clock that is set back holds nothing up.
local function is_due(sent_at)
  return delay == 0 or sent_at + delay <= now
end

local attempt = ARGV[6] ~= '' and 'a\0' .. ARGV[6]
local before = attempt and remembered(attempt)
if before and again(before) then
  return reply
end

local want, taken, due, ids = wanted(), 0, nil, {}
local groups = want > 0 and redis.call('ZRANGE', READY, 0, want - 1, 'WITHSCORES') or {}
for g = 1, #groups, 2 do
  local group = groups[g]
  if not is_due(tonumber(groups[g + 1])) then
    due = tonumber(groups[g + 1]) + delay
    break
  end
  local flights, notes = {}, {}
  for _, at in ipairs(places(group, want - taken)) do
    local id = id_at(at)
    if not is_due(ms_of(id)) or redis.call('ZSCORE', FLIGHT, id) then
      break
    end
    local entry = redis.call('XRANGE', STREAM, id, id)[1]
    if entry then
      taken = taken + 1
      -- What follows a dead letter is received once that is moved.
      if receive(entry, redis.call('HGET', RECEIVED, id), group, flights, notes) then
        break
      end
      ids[#ids + 1] = id .. ':' .. reply[#reply - 3]
    else
      -- Somebody who reads the stream itself has deleted it.
      redis.call('ZREM', ORDER, at)
      redis.call('HDEL', RECEIVED, id)
    end
  end
  if #flights > 0 then
    redis.call('ZADD', FLIGHT, unpack(flights))
    redis.call('HSET', RECEIVED, unpack(notes))
  end
  refresh(group)
  if taken >= want then
    break
  end
end
if attempt and #ids > 0 then
  remember(attempt, table.concat(ids, ' '), 300000)
end
if taken > 0 then
  tell(0, now + visibility)
else
  found_nothing(due)
end
return reply
