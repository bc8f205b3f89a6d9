-- Take, keep or give up leadership among schedulers. Every act of a leader names its leadership and is refused once lost.
--
-- KEYS  1 leader   string "<scheduler>:<fence>", expires   2 leader:fence   counter
-- ARGV  1 scheduler   2 leadership held until now, or ""   3 time to live, ms (0: give it up)
-- Reply leadership held now, or ""
local held = redis.call('GET', KEYS[1])
if held and held == ARGV[2] then
  if ARGV[3] == '0' then
    redis.call('DEL', KEYS[1])
    return ''
  end
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  return held
end
if held or ARGV[3] == '0' then
  return ''
end
local leadership = ARGV[1] .. ':' .. string.format('%.0f', redis.call('INCR', KEYS[2]))
redis.call('SET', KEYS[1], leadership, 'PX', ARGV[3])
return leadership
