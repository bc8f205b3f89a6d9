-- A function's reserved concurrency changes: its provisioned environments count in the other pool when it begins or ends.
local function move_provisioned(prefix, fn, before, after)
  if (before == '') == (after == '') then
    return 0
  end
  local held = tonumber(redis.call('HGET', prefix .. 'state', 'held:' .. fn) or '0')
  if held > 0 then
    redis.call('HINCRBY', prefix .. 'state', 'running:' .. string.match(fn, '^[^/]+'), after == '' and held or -held)
  end
  return after == '' and held or -held
end
