-- Keeping a FIFO queue: which groups may be received from, and messages leave when they are too old.
local ORDER, READY = KEYS[9], KEYS[10]
local KEPT_AT_ONCE = 50

local function sequence(id)
  local ms, number = string.match(id, '^(%d+)-(%d+)$')
  return string.format('%013.0f%07.0f', tonumber(ms), tonumber(number))
end

local function place(group, id)
  return group .. '\0' .. sequence(id)
end

local function id_at(place)
  return string.format('%.0f-%.0f', tonumber(string.sub(place, -20, -8)), tonumber(string.sub(place, -7)))
end

local function places(group, count)
  return redis.call('ZRANGEBYLEX', ORDER, '[' .. group .. '\0', '(' .. group .. '\1', 'LIMIT', 0, count)
end

-- After whatever happened to a message of a group: the group may be received from when its first message is not in flight.
-- -> whether it may.
local function refresh(group)
  local head = places(group, 1)[1]
  head = head and id_at(head)
  if not head or redis.call('ZSCORE', FLIGHT, head) then
    redis.call('ZREM', READY, group)
    return false
  end
  redis.call('ZADD', READY, text(ms_of(head)), group)
  return true
end

local function group_of(id)
  local known = redis.call('HGET', RECEIVED, id)
  return known and string.match(known, '^%d+|%d+|%d+|(.*)$')
end

local function drop(id, group)
  redis.call('XDEL', STREAM, id)
  redis.call('ZREM', FLIGHT, id)
  redis.call('HDEL', RECEIVED, id)
  redis.call('ZREM', DELAYED, id)
  redis.call('ZREM', ORDER, place(group, id))
  return refresh(group)
end

local function keep(retention, delay)
  local oldest = now - retention
  for _, entry in ipairs(redis.call('XRANGE', STREAM, '-', '(' .. text(oldest) .. '-0', 'COUNT', KEPT_AT_ONCE)) do
    for at = 1, #entry[2], 2 do
      if entry[2][at] == 'group' then
        drop(entry[1], entry[2][at + 1])
      end
    end
    redis.call('XDEL', STREAM, entry[1])
  end
  redis.call('ZREMRANGEBYSCORE', DELAYED, '-inf', text(now - delay))
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', FLIGHT, '-inf', text(now), 'LIMIT', 0, KEPT_AT_ONCE)) do
    redis.call('ZREM', FLIGHT, id)
    local group = group_of(id)
    if group then
      refresh(group)
    end
  end
end
