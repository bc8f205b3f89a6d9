-- Bring parked environments back whose time has come, and take out those that were idle for too long: they cannot be
-- leased from this moment on, so they may be stopped.
--
-- KEYS  1 lru   2 parked   zset "<environment>@<worker>\n<version>" -> due, Unix ms   3 free   4 leader
-- ARGV  1 now, Unix ms   2 expire what was last used before, Unix ms   3 at most so many   4 key prefix   5 leadership
-- Reply "<environment>@<worker>" of each one taken out
if redis.call('GET', KEYS[4]) ~= ARGV[5] then
  return {}
end
local prefix = ARGV[4]
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[1], 'LIMIT', 0, ARGV[3])) do
  redis.call('ZREM', KEYS[2], member)
  local environment, worker, version = string.match(member, '^([^@]+)@([^\n]+)\n(.+)$')
  if redis.call('HEXISTS', prefix .. 'envs:' .. worker, environment) == 1 then
    redis.call('ZADD', prefix .. 'idle:' .. version, ARGV[1], environment .. '@' .. worker)
    redis.call('ZADD', KEYS[1], ARGV[1], member)
  end
end
local expired = {}
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. ARGV[2], 'LIMIT', 0, ARGV[3])) do
  redis.call('ZREM', KEYS[1], member)
  local environment, worker, version = string.match(member, '^([^@]+)@([^\n]+)\n(.+)$')
  if redis.call('ZREM', prefix .. 'idle:' .. version, environment .. '@' .. worker) == 1
    and redis.call('HDEL', prefix .. 'envs:' .. worker, environment) == 1 then
    redis.call('ZADD', KEYS[3], 'XX', 'INCR', 1, worker)
    expired[#expired + 1] = environment .. '@' .. worker
  end
end
return expired
