#!lua flags=allow-oom
-- How many messages a FIFO queue has; what is too old goes.
-- KEYS parts/start.lua, FIFO: 10
-- ARGV[2] how long messages are kept where there are no settings, ms
-- Reply {"c", visible, in flight, delayed, revision (0 without settings)}; {"d"} the queue was deleted
-- include start
-- include sent
-- include fifo
local FORGOTTEN_AT_ONCE = 2000
local s = redis.call('HMGET', SETTINGS, 'revision', 'deleted', 'retention_ms', 'delay_ms')
if s[2] then
  return {'d'}
end
keep(tonumber(s[3] or ARGV[2]), tonumber(s[4] or 0))
forget(FORGOTTEN_AT_ONCE)
local flying = redis.call('ZCOUNT', FLIGHT, '(' .. text(now), '+inf')
local delayed = redis.call('ZCARD', DELAYED)
return {'c', math.max(0, redis.call('XLEN', STREAM) - flying - delayed), flying, delayed, tonumber(s[1] or 0)}
