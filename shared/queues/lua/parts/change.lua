-- Whether the visibility of a message may be changed under a receipt handle: a number of the reply.
local IN_FLIGHT_MS_MAX = 43200000

local function judge(id, count, ms)
  local known, last = string.match(redis.call('HGET', RECEIVED, id) or '', '^(%d+)|%d+|(%d+)')
  if not known then
    return 4
  elseif known ~= count then
    return 2
  elseif tonumber(redis.call('ZSCORE', FLIGHT, id) or 0) <= now then
    return 3
  elseif now + ms > tonumber(last) + IN_FLIGHT_MS_MAX then
    return 6
  end
  return 1
end
