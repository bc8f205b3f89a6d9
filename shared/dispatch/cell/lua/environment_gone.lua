-- A worker's environment ended by itself. A lease on it stays until its holder gives it back. Idempotent.
--
-- KEYS  1 state   2 envs:<w>   3 free
-- ARGV  1 worker   2 environment   3 key prefix
-- Reply 1 if it was known
local owner = redis.call('HGET', KEYS[2], ARGV[2])
if not owner then
  return 0
end
-- include uncount
local token, version = ARGV[2] .. '@' .. ARGV[1], string.match(owner, '\n(.+)$')
redis.call('HDEL', KEYS[2], ARGV[2])
uncount_provisioned(ARGV[3], owner, token)
redis.call('ZREM', ARGV[3] .. 'idle:' .. version, token)
redis.call('ZREM', ARGV[3] .. 'parked', token .. '\n' .. owner)
redis.call('ZADD', KEYS[3], 'XX', 'INCR', 1, ARGV[1])
if redis.call('HGET', KEYS[1], 'waiting') == '1' then
  redis.call('HSET', KEYS[1], 'waiting', '0')
  redis.call('PUBLISH', ARGV[3] .. 'events', 'room')
end
return 1
