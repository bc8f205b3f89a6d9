-- The account's unreserved concurrency changed, in one region or more.
--
-- KEYS  1 state
-- ARGV  1 key prefix   then two for each region: its name, concurrency that its functions without reserved concurrency share
-- Reply 1
for i = 2, #ARGV, 2 do
  redis.call('HSET', KEYS[1], 'limit:' .. ARGV[i], ARGV[i + 1])
end
redis.call('PUBLISH', ARGV[1] .. 'events', 'recall')
return 1
