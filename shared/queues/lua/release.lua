#!lua flags=allow-oom
-- Take receives of a standard queue back: who asked has gone, and the messages are as if nobody had asked.
-- KEYS parts/start.lua, standard: 10
-- ARGV[2] on, of each: entry, the count of receives with that one
-- Reply {"s", number, ...}: of each 1 taken back, 2 received again since or gone
--       {"u"} no settings: install them; {"d"} the queue was deleted
-- include start
-- include release
local s = redis.call('HMGET', SETTINGS, 'revision', 'deleted')
if not s[1] then
  return {s[2] and 'd' or 'u'}
end
local reply, count = {'s'}, 0
for at = 2, #ARGV, 2 do
  local id = ARGV[at]
  if take_back(id, ARGV[at + 1]) then
    -- Before what was sent after it, if nobody has received it before.
    redis.call('ZADD', FLIGHT, text(ARGV[at + 1] == '1' and math.min(ms_of(id), now) or now), id)
    count = count + 1
    reply[#reply + 1] = 1
  else
    reply[#reply + 1] = 2
  end
end
tell(count)
return reply
