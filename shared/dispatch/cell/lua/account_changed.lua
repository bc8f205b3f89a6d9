-- The account's unreserved concurrency changed.
--
-- KEYS  1 state
-- ARGV  1 concurrency that functions without reserved concurrency share   2 key prefix
-- Reply 1
redis.call('HSET', KEYS[1], 'limit', ARGV[1])
redis.call('PUBLISH', ARGV[2] .. 'events', 'recall')
return 1
