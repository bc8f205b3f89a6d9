-- A provisioned environment is ready: from now on it counts against the function's or the account's concurrency, used or not.
local function count_provisioned(prefix, owner, token)
  local state = prefix .. 'state'
  local fn, version = string.match(owner, '^(.-)\n(.+)$')
  local key = prefix .. 'provisioned:' .. version
  local was = redis.call('HGET', key, token)
  if was and was ~= 's' then
    return
  end
  redis.call('HSET', key, token, 'r')
  redis.call('SADD', prefix .. 'provisioned', owner)
  redis.call('HINCRBY', state, 'prov:' .. version, 1)
  redis.call('HINCRBY', state, 'held:' .. fn, 1)
  redis.call('HINCRBY', state, 'run:' .. fn, 1)
  if (redis.call('HGET', state, 'res:' .. fn) or '') == '' then
    redis.call('HINCRBY', state, 'running:' .. string.match(fn, '^[^/]+'), 1)
  end
end
