-- Open the epoch that was rebuilt: leases are given out again.
--
-- KEYS  1 state   2 leader
-- ARGV  1 epoch field   2 leadership   3 key prefix   4 epoch
-- Reply 1 opened, 0 that epoch is not being rebuilt (any more), -1 when the caller does not lead any more
if redis.call('GET', KEYS[2]) ~= ARGV[2] then
  return -1
end
local coming = redis.call('HMGET', KEYS[1], 'next', 'next_run')
if coming[1] ~= ARGV[4] or coming[2] ~= ARGV[1] then
  return 0
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[4])
redis.call('HDEL', KEYS[1], 'next', 'next_run')
redis.call('PUBLISH', ARGV[3] .. 'events', 'epoch ' .. ARGV[4])
return 1
