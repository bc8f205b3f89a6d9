#!lua flags=allow-oom
-- Write through what scripts need to know of a queue, of either kind, unless something newer is known.
-- KEYS parts/start.lua: 10
-- ARGV[2] revision   3 on: fields and values of SETTINGS
-- Reply 1 written; 0 the same or newer ones were there; -1 the queue was deleted since
local known = redis.call('HMGET', KEYS[2], 'revision', 'deleted')
if known[2] and tonumber(known[2]) >= tonumber(ARGV[2]) then
  return -1
end
if known[1] and tonumber(known[1]) >= tonumber(ARGV[2]) then
  return 0
end
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[2], 'revision', ARGV[2], unpack(ARGV, 3))
return 1
