-- Take provisioned environments of one version out, idle ones first. A busy one ends with its invocation, and counts until then.
--
-- KEYS  1 leader   2 provisioned:<version>   hash "<environment>@<worker>" -> "s" starting, "r" ready, "x" retiring
--       3 ready:<version>
-- ARGV  1 leadership   2 "<function>\n<version>"   3 key prefix   4 at most so many
-- Reply "<environment>@<worker>" of each: its worker is to stop it
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return {}
end
local prefix, stop = ARGV[3], {}
-- include room
-- include uncount
local popped = redis.call('ZPOPMIN', KEYS[3], ARGV[4])
for i = 1, #popped, 2 do
  local environment, worker = string.match(popped[i], '^([^@]+)@(.+)$')
  uncount_provisioned(prefix, ARGV[2], popped[i])
  drop_environment(worker, environment)
  stop[#stop + 1] = popped[i]
end
local known = redis.call('HGETALL', KEYS[2])
for i = 1, #known, 2 do
  if #stop >= tonumber(ARGV[4]) then break end
  if known[i + 1] == 'r' then
    redis.call('HSET', KEYS[2], known[i], 'x')
    stop[#stop + 1] = known[i]
  end
end
return stop
