-- Nothing further is placed on a worker, and its idle environments are not leased any more. Running leases go on. Idle
-- provisioned environments count no more, so that others take their places.
--
-- KEYS  1 envs:<w>
-- ARGV  1 worker   2 key prefix
-- Reply idle environments withdrawn
local prefix = ARGV[2]
-- include uncount
-- include room
withdraw(ARGV[1])
local withdrawn = 0
local known = redis.call('HGETALL', KEYS[1])
for i = 1, #known, 2 do
  local owner, version = parts_of(known[i + 1])
  local token = known[i] .. '@' .. ARGV[1]
  withdrawn = withdrawn + redis.call('ZREM', prefix .. 'idle:' .. version, token)
  if redis.call('ZREM', prefix .. 'ready:' .. version, token) == 1 then
    uncount_provisioned(prefix, owner, token)
    withdrawn = withdrawn + 1
  end
end
return withdrawn
