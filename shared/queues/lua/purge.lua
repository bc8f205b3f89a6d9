#!lua flags=allow-oom
-- Empty a queue, of either kind: what is visible, in flight and delayed, and what was sent before may be sent again.
-- KEYS parts/start.lua: 10
-- Reply {"p"} done; {"i"} it was less than 60 s ago; {"u"} no settings: install them; {"d"} the queue was deleted
-- include start
local s = redis.call('HMGET', SETTINGS, 'revision', 'deleted')
if not s[1] then
  return {s[2] and 'd' or 'u'}
end
if now < tonumber(redis.call('HGET', STATE, 'purged_at') or 0) + 60000 then
  return {'i'}
end
-- Trimmed, not removed: the numbers of what comes later stay above those of what was.
redis.call('XTRIM', STREAM, 'MAXLEN', 0)
redis.call('UNLINK', FLIGHT, RECEIVED, DELAYED, SENT, SENT_IDS, KEYS[9], KEYS[10])
redis.call('HSET', STATE, 'purged_at', text(now))
return {'p'}
