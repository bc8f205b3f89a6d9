-- Nothing further is placed on a worker, and its idle environments are not leased any more. Running leases go on. Idle
-- provisioned environments count no more, so that others take their places.
--
-- KEYS  1 free   2 envs:<w>
-- ARGV  1 worker   2 key prefix
-- Reply idle environments withdrawn
-- include uncount
redis.call('ZREM', KEYS[1], ARGV[1])
local withdrawn = 0
local known = redis.call('HGETALL', KEYS[2])
for i = 1, #known, 2 do
  local token, version = known[i] .. '@' .. ARGV[1], string.match(known[i + 1], '\n(.+)$')
  withdrawn = withdrawn + redis.call('ZREM', ARGV[2] .. 'idle:' .. version, token)
  if redis.call('ZREM', ARGV[2] .. 'ready:' .. version, token) == 1 then
    uncount_provisioned(ARGV[2], known[i + 1], token)
    withdrawn = withdrawn + 1
  end
end
return withdrawn
