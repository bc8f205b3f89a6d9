-- A place for a provisioned environment that the scheduler starts now. It takes a slot, and counts once it is ready.
--
-- KEYS  1 state   2 free   3 lru   4 leader   5 provisioned:<version>
-- ARGV  1 epoch field   2 leadership   3 "<function>\n<version>"   4 key prefix   5 workers to avoid: "" or ",a,b,"
--       6 now, Unix ms
-- Reply {"g", lease, victim}   lease and victim as in acquire.lua
--       {"n"} no worker has room   {"b"} being rebuilt   {"l"} the caller does not lead any more
if redis.call('GET', KEYS[4]) ~= ARGV[2] then
  return {'l'}
end
local epoch = redis.call('HGET', KEYS[1], ARGV[1])
if not epoch then
  return {'b'}
end
local free, lru, prefix, avoid, now = KEYS[2], KEYS[3], ARGV[4], ARGV[5], ARGV[6]
local function avoided(worker)
  return avoid ~= '' and string.find(avoid, ',' .. worker .. ',', 1, true)
end
-- include place
local victim, worker = '', most_free()
if worker then
  redis.call('ZINCRBY', free, -1, worker)
else
  victim, worker = evict()
  if not worker then
    return {'n'}
  end
end
local fence = redis.call('HINCRBY', KEYS[1], 'fence', 1)
local environment = epoch .. '-' .. fence
local token = environment .. '@' .. worker
redis.call('HSET', prefix .. 'envs:' .. worker, environment, ARGV[3])
redis.call('HSET', KEYS[5], token, 's')
redis.call('SADD', prefix .. 'provisioned', ARGV[3])
return {'g', token .. '#' .. epoch .. '.' .. fence, victim}
