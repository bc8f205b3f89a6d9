-- An environment ends. If it was provisioned, nothing of it is left and it counts no more; else nothing happens here.
local function uncount_provisioned(prefix, owner, token)
  local state = prefix .. 'state'
  local fn, version = string.match(owner, '^(.-)\n(.+)$')
  local key = prefix .. 'provisioned:' .. version
  local was = redis.call('HGET', key, token)
  if not was then
    return
  end
  redis.call('HDEL', key, token)
  redis.call('ZREM', prefix .. 'ready:' .. version, token)
  if was ~= 's' then
    local function less(field)
      if redis.call('HINCRBY', state, field, -1) <= 0 then
        redis.call('HDEL', state, field)
      end
    end
    less('prov:' .. version)
    less('held:' .. fn)
    less('run:' .. fn)
    local account = 'running:' .. string.match(fn, '^[^/]+')
    if (redis.call('HGET', state, 'res:' .. fn) or '') == '' and redis.call('HINCRBY', state, account, -1) < 0 then
      redis.call('HSET', state, account, 0)
    end
  end
  if redis.call('EXISTS', key) == 0 then
    redis.call('SREM', prefix .. 'provisioned', owner)
  end
  redis.call('PUBLISH', prefix .. 'events', 'provisioned')
end
