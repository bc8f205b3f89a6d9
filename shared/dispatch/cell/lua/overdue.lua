-- Who has not been heard of for too long, and holders of leases that nobody lists as alive.
--
-- KEYS  1 alive:holders   2 alive:workers
-- ARGV  1 dead after, ms
-- Reply {holders, workers}
local t = redis.call('TIME')
local limit = string.format('(%.0f', t[1] * 1000 + math.floor(t[2] / 1000) - tonumber(ARGV[1]))
return {redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', limit), redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', limit)}
