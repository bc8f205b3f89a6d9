#!lua flags=allow-oom
-- Delete a queue, of either kind, with all its messages.
-- KEYS parts/start.lua: 10
-- ARGV[2] revision: settings that are as old, or older, are not taken any more   3 for how many seconds that is known
-- Reply 1 deleted; 0 it was made again since
-- include start
local known = redis.call('HGET', SETTINGS, 'revision')
if known and tonumber(known) > tonumber(ARGV[2]) then
  return 0
end
tell(1000)
redis.call('UNLINK', unpack(KEYS))
redis.call('HSET', SETTINGS, 'deleted', ARGV[2])
redis.call('EXPIRE', SETTINGS, ARGV[3])
return 1
