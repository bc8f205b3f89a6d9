#!lua flags=allow-oom
-- Take receives of a FIFO queue back: who asked has gone, and the messages are as if nobody had asked.
-- KEYS parts/start.lua, FIFO: 10
-- ARGV[2] on, of each: entry, the count of receives with that one
-- Reply {"s", number, ...}: of each 1 taken back, 2 received again since or gone
--       {"u"} no settings: install them; {"d"} the queue was deleted
-- include start
-- include fifo
-- include release
local s = redis.call('HMGET', SETTINGS, 'revision', 'deleted')
if not s[1] then
  return {s[2] and 'd' or 'u'}
end
local reply, ready = {'s'}, 0
for at = 2, #ARGV, 2 do
  local group = take_back(ARGV[at], ARGV[at + 1])
  if group then
    redis.call('ZREM', FLIGHT, ARGV[at])
    if refresh(group) then
      ready = ready + 1
    end
    reply[#reply + 1] = 1
  else
    reply[#reply + 1] = 2
  end
end
tell(ready)
return reply
