#!lua flags=allow-oom
-- Receive messages of a standard queue: in the order in which they became visible, be it for the first time or again.
-- KEYS parts/start.lua, standard: 10
-- ARGV[2] messages wanted   3 visibility in ms ("": the queue's)   4 how long the caller waits when there is none, ms ("": the
--       queue's)   5 "1": dead letters are marked
-- Reply {"m", due, wait, over, dead-letter ARN or "", then of each: entry, receives, first receive in ms, dead, fields}
--         due: in how many ms one may be visible, -1 unknown; wait: how long the caller is to wait, ms; over: 1 when as many are
--         in flight as may be; dead: 1 for a dead letter, which is in flight for 30 s or more and is to be moved
--       {"u"} no settings: install them; {"d"} the queue was deleted
-- include start
-- include standard
-- include received
local oldest = keep(tonumber(s[5]))
local want = wanted()
local cursor, taken = redis.call('HGET', STATE, 'cursor') or '0-0', 0
local back = want > 0 and redis.call('ZRANGEBYSCORE', FLIGHT, '-inf', text(now), 'WITHSCORES', 'LIMIT', 0, want) or {}
local fresh = want > 0 and redis.call('XRANGE', STREAM, '(' .. cursor, '+', 'COUNT', want) or {}
local b, f, gone, flights, notes = 1, 1, {}, {}, {}
while taken < want and (back[b] or fresh[f]) do
  local entry, known, sent
  if fresh[f] then
    sent = ms_of(fresh[f][1])
  end
  if sent and (not back[b] or sent <= tonumber(back[b + 1])) then
    entry, cursor = fresh[f], fresh[f][1]
    f = f + 1
  else
    -- It is gone if somebody who reads the stream itself has deleted it.
    entry, sent = redis.call('XRANGE', STREAM, back[b], back[b])[1], ms_of(back[b])
    known = redis.call('HGET', RECEIVED, back[b])
    if not entry then
      gone[#gone + 1] = back[b]
    end
    b = b + 2
  end
  if entry and sent < oldest then
    gone[#gone + 1] = entry[1]
  elseif entry then
    receive(entry, known, '', flights, notes)
    taken = taken + 1
  end
end
drop(gone)
if taken > 0 then
  redis.call('ZADD', FLIGHT, unpack(flights))
  redis.call('HSET', RECEIVED, unpack(notes))
end
if f > 1 then
  redis.call('HSET', STATE, 'cursor', cursor)
end
if taken > 0 then
  tell(0, now + visibility)
else
  found_nothing(tonumber(redis.call('ZRANGE', DELAYED, 0, 0, 'WITHSCORES')[2]))
end
return reply
