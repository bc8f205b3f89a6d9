-- A provisioned environment has initialised: it counts, and is leased from now on.
--
-- KEYS  1 state   2 leader   3 provisioned:<version>   4 ready:<version>   zset as idle:<version>, of provisioned environments
-- ARGV  1 leadership   2 "<function>\n<version>"   3 "<environment>@<worker>"   4 key prefix   5 now, Unix ms
-- Reply 1 ready, 0 it is not known (any more), -1 when the caller does not lead any more
if redis.call('GET', KEYS[2]) ~= ARGV[1] then
  return -1
end
-- include count
local was = redis.call('HGET', KEYS[3], ARGV[3])
if was == 's' then
  count_provisioned(ARGV[4], ARGV[2], ARGV[3])
  redis.call('ZADD', KEYS[4], ARGV[5], ARGV[3])
  if redis.call('HGET', KEYS[1], 'waiting') == '1' then
    redis.call('HSET', KEYS[1], 'waiting', '0')
    redis.call('PUBLISH', ARGV[4] .. 'events', 'room')
  end
end
return was and 1 or 0
