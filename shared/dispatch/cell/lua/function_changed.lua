-- The registry has a new revision of a function: older targets are stale from now on.
--
-- KEYS  1 state
-- ARGV  1 function   2 revision   3 reserved concurrency, "" for none   4 key prefix
-- Reply 1 if it was news
local known = redis.call('HGET', KEYS[1], 'rev:' .. ARGV[1])
if known and tonumber(known) >= tonumber(ARGV[2]) then
  return 0
end
-- include reserve
move_provisioned(ARGV[4], ARGV[1], redis.call('HGET', KEYS[1], 'res:' .. ARGV[1]) or '', ARGV[3])
redis.call('HSET', KEYS[1], 'rev:' .. ARGV[1], ARGV[2])
if ARGV[3] == '' then
  redis.call('HDEL', KEYS[1], 'res:' .. ARGV[1])
else
  redis.call('HSET', KEYS[1], 'res:' .. ARGV[1], ARGV[3])
end
redis.call('PUBLISH', ARGV[4] .. 'events', 'changed ' .. ARGV[1] .. ' ' .. ARGV[2])
return 1
