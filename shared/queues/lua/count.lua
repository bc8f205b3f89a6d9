#!lua flags=allow-oom
-- How many messages a standard queue has; what is too old goes, what is due comes.
-- KEYS parts/start.lua, standard: 10
-- ARGV[2] how long messages are kept where there are no settings, ms
-- Reply {"c", visible, in flight, delayed, revision (0 without settings)}; {"d"} the queue was deleted
-- include start
-- include sent
-- include standard
local FORGOTTEN_AT_ONCE = 2000
local s = redis.call('HMGET', SETTINGS, 'revision', 'deleted', 'retention_ms')
if s[2] then
  return {'d'}
end
keep(tonumber(s[3] or ARGV[2]))
forget(FORGOTTEN_AT_ONCE)
local flying = redis.call('ZCOUNT', FLIGHT, '(' .. text(now), '+inf')
local due = redis.call('ZCOUNT', DELAYED, '-inf', text(now))
local visible = redis.call('XLEN', STREAM) - flying + due
return {'c', math.max(0, visible), flying, redis.call('ZCARD', DELAYED) - due, tonumber(s[1] or 0)}
