-- Taking a receive back that nobody has got.
-- -> the message's group, nil when it was received again since or is gone.
local function take_back(id, count)
  local known, first, group = string.match(redis.call('HGET', RECEIVED, id) or '', '^(%d+)|(%d+)|%d+|(.*)$')
  if known ~= count then
    return nil
  end
  if known == '1' then
    redis.call('HDEL', RECEIVED, id)
  else
    redis.call('HSET', RECEIVED, id, text(known - 1) .. '|' .. first .. '|' .. text(now) .. '|' .. group)
  end
  return group
end
