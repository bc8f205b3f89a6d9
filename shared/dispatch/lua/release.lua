-- Give a lease back, once: a second call, or one for a lease that was reaped, changes no count.
--
-- KEYS  1 state   2 idle:<version>   3 leases:<h>:<pool as acquired>   4 leases:<h>:<the other pool>   5 lru   6 free
-- ARGV  1 run field   2 version   3 key prefix   4 pool as acquired, "u" or "r"
--       5 outcome: "i" the environment is idle, "g" it is gone, "b" it may be busy still (not leased for a second)
--       6 lease   7 now, Unix ms
-- Reply 1 released, 0 there was no such lease (remembered for a minute: a worker that reports the lease as running, having
--       looked before it ended, must not bring it back)
local lease = ARGV[6]
local pool = ARGV[4]
if redis.call('HDEL', KEYS[3], lease) == 0 then
  if redis.call('HDEL', KEYS[4], lease) == 0 then
    redis.call('SET', ARGV[3] .. 'released:' .. lease, '1', 'EX', 60)
    return 0
  end
  -- Counted again after a rebuild, in the pool that the function had then.
  pool = pool == 'u' and 'r' or 'u'
end

local s = redis.call('HMGET', KEYS[1], 'running', 'waiting', ARGV[1])
local running = tonumber(s[1] or '0')
if pool == 'u' and running > 0 then
  running = running - 1
end
local run = tonumber(s[3] or '0')
if run > 0 then
  run = run - 1
end
if s[2] == '1' then
  redis.call('HSET', KEYS[1], 'running', running, ARGV[1], run, 'waiting', '0')
else
  redis.call('HSET', KEYS[1], 'running', running, ARGV[1], run)
end

local token = string.sub(lease, 1, string.find(lease, '#', 1, true) - 1)
if ARGV[5] == 'i' then
  redis.call('ZADD', KEYS[2], ARGV[7], token)
  redis.call('ZADD', KEYS[5], ARGV[7], token .. '\n' .. ARGV[2])
elseif ARGV[5] == 'g' then
  local environment, worker = string.match(token, '^([^@]+)@(.+)$')
  if redis.call('HDEL', ARGV[3] .. 'envs:' .. worker, environment) == 1 then
    redis.call('ZADD', KEYS[6], 'XX', 'INCR', 1, worker)
  end
else
  redis.call('ZADD', ARGV[3] .. 'parked', string.format('%.0f', tonumber(ARGV[7]) + 1000), token .. '\n' .. ARGV[2])
end
if s[2] == '1' then
  redis.call('PUBLISH', ARGV[3] .. 'events', 'room')
end
return 1
