-- A worker's environment ended by itself. A lease on it stays until its holder gives it back. Idempotent.
--
-- KEYS  1 state
-- ARGV  1 worker   2 environment   3 key prefix
-- Reply 1 if it was known
local prefix = ARGV[3]
-- include room
-- include uncount
local owner, version = drop_environment(ARGV[1], ARGV[2])
if not owner then
  return 0
end
local token = ARGV[2] .. '@' .. ARGV[1]
uncount_provisioned(prefix, owner, token)
redis.call('ZREM', prefix .. 'idle:' .. version, token)
redis.call('ZREM', prefix .. 'parked', token .. '\n' .. owner)
if redis.call('HGET', KEYS[1], 'waiting') == '1' then
  redis.call('HSET', KEYS[1], 'waiting', '0')
  redis.call('PUBLISH', prefix .. 'events', 'room')
end
return 1
