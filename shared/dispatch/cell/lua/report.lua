-- A worker reports its environments, in one or several calls; the last one makes it known and gives it out for placement.
-- What Redis knows already stays as it is, so a report may be repeated.
--
-- KEYS  1 state   2 alive:workers   3 workers   4 envs:<w>   5 lru
-- ARGV  1 epoch field   2 epoch reported under   3 worker   4 its record (worker_record.py)   5 slots (0: draining)   6 MB
--       7 key prefix   8 "1" if this is the last part   9 "1" if this one part is the whole inventory
--       then nine for each environment: id, version, function, its MB, busy "1"/"0", epoch, fence, holder, provisioned: "" not,
--         "s" it starts, "r" it has initialised
-- Reply {environments added, leases counted again}, or {-1, 0} when the epoch is not (any more) this one
local open = redis.call('HGET', KEYS[1], ARGV[1])
local coming = redis.call('HGET', KEYS[1], 'next')
if ARGV[2] ~= open and ARGV[2] ~= coming then
  return {-1, 0}
end
local t = redis.call('TIME')
local now = string.format('%.0f', t[1] * 1000 + math.floor(t[2] / 1000))
local worker, prefix = ARGV[3], ARGV[7]
-- include count
-- include uncount
-- include room
local added, leased, listed = 0, 0, {}
for i = 10, #ARGV, 9 do
  local environment, version, owner = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  listed[environment] = true
  if redis.call('HSETNX', KEYS[4], environment, owner .. '\n' .. version .. '\n' .. ARGV[i + 3]) == 1 then
    added = added + 1
    local token = environment .. '@' .. worker
    local lease = token .. '#' .. ARGV[i + 5] .. '.' .. ARGV[i + 6]
    local runs = ARGV[i + 4] == '1' and redis.call('EXISTS', prefix .. 'released:' .. lease) == 0
    if ARGV[i + 8] == 's' then
      redis.call('HSET', prefix .. 'provisioned:' .. version, token, 's')
      redis.call('SADD', prefix .. 'provisioned', owner .. '\n' .. version)
    elseif ARGV[i + 8] == 'r' then
      count_provisioned(prefix, owner .. '\n' .. version, token)
      if runs then
        redis.call('HSET', prefix .. 'leases:' .. ARGV[i + 7] .. ':p', lease, owner .. '\n' .. version)
        redis.call('ZADD', prefix .. 'alive:holders', 'NX', now, ARGV[i + 7])
        leased = leased + 1
      else
        redis.call('ZADD', prefix .. 'ready:' .. version, now, token)
      end
    elseif runs then
      local reserved = redis.call('HGET', KEYS[1], 'res:' .. owner)
      local pool = (reserved and reserved ~= '') and 'r' or 'u'
      redis.call('HSET', prefix .. 'leases:' .. ARGV[i + 7] .. ':' .. pool, lease, owner .. '\n' .. version)
      -- Its holder may have died unseen: being listed here, it is reaped unless it speaks up in time.
      redis.call('ZADD', prefix .. 'alive:holders', 'NX', now, ARGV[i + 7])
      redis.call('HINCRBY', KEYS[1], 'run:' .. owner, 1)
      if pool == 'u' then
        redis.call('HINCRBY', KEYS[1], 'running:' .. string.match(owner, '^[^/]+'), 1)
      end
      leased = leased + 1
    else
      redis.call('ZADD', prefix .. 'idle:' .. version, now, token)
      redis.call('ZADD', KEYS[5], 'NX', now, owner .. '\n' .. version)
    end
  end
end
if ARGV[9] == '1' then
  -- Idle here but unknown to the worker: gone. Leased ones may be on their way to it.
  local known = redis.call('HGETALL', KEYS[4])
  for i = 1, #known, 2 do
    if not listed[known[i]] then
      local owner, version = parts_of(known[i + 1])
      local token = known[i] .. '@' .. worker
      if redis.call('ZREM', prefix .. 'idle:' .. version, token) + redis.call('ZREM', prefix .. 'ready:' .. version, token) > 0 then
        uncount_provisioned(prefix, owner, token)
        redis.call('HDEL', KEYS[4], known[i])
      end
    end
  end
end
if ARGV[8] == '1' then
  if redis.call('HSET', KEYS[3], worker, ARGV[4]) == 1 then
    redis.call('PUBLISH', prefix .. 'events', 'joined ' .. worker)
  end
  redis.call('ZADD', KEYS[2], now, worker)
  if ARGV[5] == '0' then
    withdraw(worker)
  else
    local there = redis.call('HVALS', KEYS[4])
    local taken = 0
    for _, known in ipairs(there) do
      local _, _, mb = parts_of(known)
      taken = taken + mb
    end
    enter(worker, ARGV[5] - #there, ARGV[6] - taken, tonumber(ARGV[6]))
  end
  if redis.call('HGET', KEYS[1], 'waiting') == '1' then
    redis.call('HSET', KEYS[1], 'waiting', '0')
    redis.call('PUBLISH', prefix .. 'events', 'room')
  end
end
return {added, leased}
