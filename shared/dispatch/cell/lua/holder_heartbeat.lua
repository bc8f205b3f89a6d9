-- A holder of leases (frontend, poller, router) says that it lives.
--
-- KEYS  1 state   2 alive:holders   zset holder -> last heartbeat, Unix ms of this Redis
--       3 leases:<h>:u   4 leases:<h>:r
-- ARGV  1 epoch field   2 holder
-- Reply {epoch or "", 1 if it was known before, leases counted for it}
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local added = redis.call('ZADD', KEYS[2], string.format('%.0f', now), ARGV[2])
local leases = redis.call('HLEN', KEYS[3]) + redis.call('HLEN', KEYS[4])
return {redis.call('HGET', KEYS[1], ARGV[1]) or '', 1 - added, leases}
