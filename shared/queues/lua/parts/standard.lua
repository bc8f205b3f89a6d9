-- Keeping a standard queue: messages leave when they are too old, and those that are due come in.
local LATER, MOVED = KEYS[9], KEYS[10]
local KEPT_AT_ONCE = 50

local function drop(id)
  redis.call('XDEL', STREAM, id)
  redis.call('ZREM', FLIGHT, id)
  redis.call('HDEL', RECEIVED, id)
  redis.call('ZREM', MOVED, id)
end

-- Before this time everything is too old.
local function keep(retention)
  local oldest = now - retention
  for _, entry in ipairs(redis.call('XRANGE', STREAM, '-', '(' .. text(oldest) .. '-0', 'COUNT', KEPT_AT_ONCE)) do
    drop(entry[1])
  end
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', MOVED, '-inf', '(' .. text(oldest), 'LIMIT', 0, KEPT_AT_ONCE)) do
    drop(id)
  end
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', DELAYED, '-inf', text(now), 'LIMIT', 0, KEPT_AT_ONCE)) do
    local entry = redis.call('XRANGE', LATER, id, id)[1]
    if entry then
      redis.call('XADD', STREAM, stamp, unpack(entry[2]))
      redis.call('XDEL', LATER, id)
    end
    redis.call('ZREM', DELAYED, id)
  end
  return oldest
end
