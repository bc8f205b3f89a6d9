-- A place for a provisioned environment that the scheduler starts now. It takes a slot, and counts once it is ready.
--
-- KEYS  1 state   2 lru   3 leader   4 provisioned:<version>
-- ARGV  1 epoch field   2 leadership   3 "<function>\n<version>"   4 key prefix   5 workers to avoid: "" or ",a,b,"
--       6 now, Unix ms   7 MB of the version's environments
-- Reply {"g", lease, victims}   lease and victims as in acquire.lua
--       {"n"} no worker has room   {"b"} being rebuilt   {"l"} the caller does not lead any more
if redis.call('GET', KEYS[3]) ~= ARGV[2] then
  return {'l'}
end
local epoch = redis.call('HGET', KEYS[1], ARGV[1])
if not epoch then
  return {'b'}
end
local lru, prefix, avoid, now, needed = KEYS[2], ARGV[4], ARGV[5], ARGV[6], tonumber(ARGV[7])
local function avoided(worker)
  return avoid ~= '' and string.find(avoid, ',' .. worker .. ',', 1, true)
end
-- include room
-- include place
-- They stay for long: not many of a function should go with one worker.
local worker, victims = place()
if not worker then
  return {'n'}
end
local fence = redis.call('HINCRBY', KEYS[1], 'fence', 1)
local environment = epoch .. '-' .. fence
local token = environment .. '@' .. worker
add_environment(worker, environment, ARGV[3], needed)
redis.call('HSET', KEYS[4], token, 's')
redis.call('SADD', prefix .. 'provisioned', ARGV[3])
return {'g', token .. '#' .. epoch .. '.' .. fence, victims}
