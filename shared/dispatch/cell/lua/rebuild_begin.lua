-- Begin a new epoch when this Redis has none that is valid for its present run: wiped, restarted or failed over.
-- Counts and places are dropped (workers report them again); limits and revisions are facts and stay.
--
-- KEYS  1 state   2 leader
-- ARGV  1 epoch field   2 leadership   3 key prefix   4 greatest epoch that the caller knows of
-- Reply {1, epoch} being rebuilt, {0, epoch} open already, {-1, ""} when the caller does not lead any more
if redis.call('GET', KEYS[2]) ~= ARGV[2] then
  return {-1, ''}
end
local open = redis.call('HGET', KEYS[1], ARGV[1])
if open then
  return {0, open}
end
local fields = redis.call('HGETALL', KEYS[1])
local t = redis.call('TIME')
local greatest = math.max(tonumber(ARGV[4]), t[1] * 1000 + math.floor(t[2] / 1000) - 1)
local coming, coming_run
for i = 1, #fields, 2 do
  if fields[i] == 'next' then
    coming = fields[i + 1]
    greatest = math.max(greatest, tonumber(coming))
  elseif fields[i] == 'next_run' then
    coming_run = fields[i + 1]
  elseif string.sub(fields[i], 1, 6) == 'epoch:' then
    greatest = math.max(greatest, tonumber(fields[i + 1]))
  end
end
if coming and coming_run == ARGV[1] then
  return {1, coming}
end
for i = 1, #fields, 2 do
  local kind = string.sub(fields[i], 1, 4)
  if string.sub(fields[i], 1, 6) ~= 'limit:' and kind ~= 'rev:' and kind ~= 'res:' then
    redis.call('HDEL', KEYS[1], fields[i])
  end
end
local dropped = {'idle:', 'ready:', 'provisioned', 'envs:', 'leases:', 'lru', 'parked', 'room', 'free', 'ring',
  'workers', 'alive:workers'}
local glob = string.gsub(ARGV[3], '[%[%]%*%?\\]', '\\%0') .. '*'
for _, key in ipairs(redis.call('KEYS', glob)) do
  local name = string.sub(key, #ARGV[3] + 1)
  for _, start in ipairs(dropped) do
    if string.sub(name, 1, #start) == start then
      redis.call('UNLINK', key)
      break
    end
  end
end
local epoch = string.format('%.0f', greatest + 1)
-- A value over 64 bytes also makes Redis keep the hash as a table: a small one is searched from its beginning each time.
redis.call('HSET', KEYS[1], 'about', 'counters, limits, epochs and revisions of one cell; described in shared/dispatch/cell/keys.py')
redis.call('HSET', KEYS[1], 'next', epoch, 'next_run', ARGV[1])
redis.call('PUBLISH', ARGV[3] .. 'events', 'rebuilding ' .. epoch)
return {1, epoch}
