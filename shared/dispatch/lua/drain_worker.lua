-- Nothing further is placed on a worker, and its idle environments are not leased any more. Running leases go on.
--
-- KEYS  1 free   2 envs:<w>
-- ARGV  1 worker   2 key prefix
-- Reply idle environments withdrawn
redis.call('ZREM', KEYS[1], ARGV[1])
local withdrawn = 0
local known = redis.call('HGETALL', KEYS[2])
for i = 1, #known, 2 do
  local token, version = known[i] .. '@' .. ARGV[1], string.match(known[i + 1], '\n(.+)$')
  withdrawn = withdrawn + redis.call('ZREM', ARGV[2] .. 'idle:' .. version, token)
end
return withdrawn
