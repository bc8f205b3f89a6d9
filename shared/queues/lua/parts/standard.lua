-- Keeping a standard queue: messages leave when they are too old, and those that are due come in.
local LATER, MOVED = KEYS[9], KEYS[10]
local KEPT_AT_ONCE = 50

local function drop(ids)
  if #ids > 0 then
    redis.call('XDEL', STREAM, unpack(ids))
    redis.call('ZREM', FLIGHT, unpack(ids))
    redis.call('HDEL', RECEIVED, unpack(ids))
    redis.call('ZREM', MOVED, unpack(ids))
  end
end

-- Before this time everything is too old.
local function keep(retention)
  local oldest = now - retention
  local old = redis.call('ZRANGEBYSCORE', MOVED, '-inf', '(' .. text(oldest), 'LIMIT', 0, KEPT_AT_ONCE)
  for _, entry in ipairs(redis.call('XRANGE', STREAM, '-', '(' .. text(oldest) .. '-0', 'COUNT', KEPT_AT_ONCE)) do
    old[#old + 1] = entry[1]
  end
  drop(old)
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
