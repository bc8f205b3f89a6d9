-- Forget a worker that died or leaves: its slots, its environments, and the leases on them, whoever holds those.
--
-- KEYS  1 state   2 alive:workers   3 workers   4 envs:<w>   5 alive:holders   6 leader
-- ARGV  1 worker   2 leadership ("" when the worker itself leaves)   3 key prefix
-- Reply {environments forgotten, leases given back}, {-1, 0} when the caller does not lead any more
if ARGV[2] ~= '' and redis.call('GET', KEYS[6]) ~= ARGV[2] then
  return {-1, 0}
end
local worker, prefix = ARGV[1], ARGV[3]
-- include uncount
-- include room
redis.call('ZREM', KEYS[2], worker)
withdraw(worker)
redis.call('HDEL', KEYS[3], worker)
local known = redis.call('HGETALL', KEYS[4])
for i = 1, #known, 2 do
  local owner, version = parts_of(known[i + 1])
  local token = known[i] .. '@' .. worker
  uncount_provisioned(prefix, owner, token)
  redis.call('ZREM', prefix .. 'idle:' .. version, token)
  redis.call('ZREM', prefix .. 'parked', token .. '\n' .. owner)
end
redis.call('DEL', KEYS[4])
local reaped = 0
local mark = '@' .. worker .. '#'
for _, holder in ipairs(redis.call('ZRANGE', KEYS[5], 0, -1)) do
  for _, pool in ipairs({'u', 'r', 'p'}) do
    local key = prefix .. 'leases:' .. holder .. ':' .. pool
    local leases = redis.call('HGETALL', key)
    for i = 1, #leases, 2 do
      if string.find(leases[i], mark, 1, true) then
        redis.call('HDEL', key, leases[i])
        local owner = string.match(leases[i + 1], '^(.-)\n')
        if pool ~= 'p' then
          redis.call('HINCRBY', KEYS[1], 'run:' .. owner, -1)
        end
        if pool == 'u' then
          redis.call('HINCRBY', KEYS[1], 'running:' .. string.match(owner, '^[^/]+'), -1)
        end
        reaped = reaped + 1
      end
    end
  end
end
redis.call('PUBLISH', prefix .. 'events', 'lost ' .. worker)
return {#known / 2, reaped}
