-- Give back every lease of a holder that died or leaves: exactly once, because they are deleted in the same step.
-- Its environments become idle; one that is busy still refuses its next lease and is left alone for a second then.
--
-- KEYS  1 state   2 alive:holders   3 leases:<h>:u   4 leases:<h>:r   5 lru   6 leader
-- ARGV  1 holder   2 leadership ("" when the holder itself leaves)   3 key prefix
-- Reply leases given back, -1 when the caller does not lead any more
if ARGV[2] ~= '' and redis.call('GET', KEYS[6]) ~= ARGV[2] then
  return -1
end
local t = redis.call('TIME')
local now = string.format('%.0f', t[1] * 1000 + math.floor(t[2] / 1000))
local reaped, counts, accounts = 0, {}, {}
local provisioned = string.sub(KEYS[3], 1, -2) .. 'p'
for _, key in ipairs({KEYS[3], KEYS[4], provisioned}) do
  local leases = redis.call('HGETALL', key)
  for i = 1, #leases, 2 do
    local environment, worker = string.match(leases[i], '^([^@]+)@(.+)#%d+%.%d+$')
    local owner, version = string.match(leases[i + 1], '^(.-)\n(.+)$')
    reaped = reaped + 1
    if key == provisioned then
      if redis.call('HGET', ARGV[3] .. 'provisioned:' .. version, environment .. '@' .. worker) == 'r' then
        redis.call('ZADD', ARGV[3] .. 'ready:' .. version, now, environment .. '@' .. worker)
      end
    else
      counts[owner] = (counts[owner] or 0) + 1
      if key == KEYS[3] then
        local region = string.match(owner, '^[^/]+')
        accounts[region] = (accounts[region] or 0) + 1
      end
    end
    if key ~= provisioned and redis.call('HEXISTS', ARGV[3] .. 'envs:' .. worker, environment) == 1 then
      redis.call('ZADD', ARGV[3] .. 'idle:' .. version, now, environment .. '@' .. worker)
      redis.call('ZADD', KEYS[5], 'NX', now, leases[i + 1])
    end
  end
  redis.call('DEL', key)
end
for owner, count in pairs(counts) do
  if redis.call('HINCRBY', KEYS[1], 'run:' .. owner, -count) < 0 then
    redis.call('HSET', KEYS[1], 'run:' .. owner, 0)
  end
end
for region, count in pairs(accounts) do
  if redis.call('HINCRBY', KEYS[1], 'running:' .. region, -count) < 0 then
    redis.call('HSET', KEYS[1], 'running:' .. region, 0)
  end
end
redis.call('ZREM', KEYS[2], ARGV[1])
if reaped > 0 and redis.call('HGET', KEYS[1], 'waiting') == '1' then
  redis.call('HSET', KEYS[1], 'waiting', '0')
  redis.call('PUBLISH', ARGV[3] .. 'events', 'room')
end
return reaped
