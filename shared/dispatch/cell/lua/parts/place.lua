-- Where a new environment may go. Around it: what room.lua defines, lru (key), now (text), avoid, avoided(worker), needed (MB).
--
-- First to one of the function's homes, where its code is likely to be: five workers that its name picks on the ring, each function
-- others, and when a worker comes or goes only those whose place it takes. A home is passed over when more of it is taken than a
-- quarter above the share that is taken of all workers, and a 256th; then the worker with the most free memory is next.
local HOMES = 5
local ABOVE_SHARE, ABOVE_NONE = 1.25, 1 / 256

local function fits(worker)
  if avoided(worker) then
    return
  end
  local slots, free, all = room_of(worker)
  if slots and slots > 0 and free >= needed then
    return free, all
  end
end

local function home_of(fn)
  local ring = prefix .. 'ring'
  local sums = redis.call('HMGET', prefix .. 'room', '*free', '*all')
  local of_all = tonumber(sums[2] or '0')
  if of_all == 0 then
    return
  end
  local most = ABOVE_SHARE * (of_all - tonumber(sums[1])) / of_all + ABOVE_NONE
  local places = redis.sha1hex(fn)
  for i = 1, HOMES do
    local from = '[' .. string.sub(places, 8 * i - 7, 8 * i)
    local found = redis.call('ZRANGEBYLEX', ring, from, '+', 'LIMIT', 0, 1)
    if not found[1] then
      found = redis.call('ZRANGEBYLEX', ring, '-', '+', 'LIMIT', 0, 1)
    end
    local worker = string.sub(found[1], 10)
    local free, all = fits(worker)
    if free and all - free <= all * most then
      return worker
    end
  end
end

local function most_free()
  -- One more than are avoided, which has a comma before each and one at its end.
  local _, commas = string.gsub(avoid, ',', '')
  for _, worker in ipairs(redis.call('ZREVRANGE', prefix .. 'free', 0, math.max(0, commas - 1))) do
    if fits(worker) then
      return worker
    end
  end
end

-- Take out idle environments of a worker, older ones first, of a sample of all that it has, as many as make room; none when that
-- is not to be had. Their ids with commas between them.
local function clear(worker)
  local slots, free = room_of(worker)
  local idle = {}
  local sample = redis.call('HRANDFIELD', prefix .. 'envs:' .. worker, 64, 'WITHVALUES')
  for i = 1, #sample, 2 do
    local _, version, mb = parts_of(sample[i + 1])
    local used = redis.call('ZSCORE', prefix .. 'idle:' .. version, sample[i] .. '@' .. worker)
    if used then
      idle[#idle + 1] = {tonumber(used), sample[i], version, mb}
    end
  end
  table.sort(idle, function(a, b) return a[1] < b[1] end)
  local victims, cleared = {}, 0
  for i, each in ipairs(idle) do
    victims[i], cleared = each[2], cleared + each[4]
    if free + cleared >= needed and slots + i > 0 then
      for gone = 1, i do
        redis.call('ZREM', prefix .. 'idle:' .. idle[gone][3], idle[gone][2] .. '@' .. worker)
      end
      redis.call('HDEL', prefix .. 'envs:' .. worker, unpack(victims))
      change_room(worker, i, cleared)
      return table.concat(victims, ',')
    end
  end
end

-- A worker, and the environments to stop there first, with commas between them. Where it suffices, one goes: the least recently
-- used idle environment of any version. `lru` holds a lower bound for each version, corrected when it is looked at. A draining
-- worker has no place in `room` and gets nothing new. Provisioned environments are not among the idle ones, so none is evicted.
local function evict()
  local aside, victim, worker = {}, nil, nil
  local too_small = {}
  for _ = 1, 256 do
    local head = redis.call('ZRANGE', lru, 0, 1, 'WITHSCORES')
    if not head[1] then break end
    local owner, version = string.match(head[1], '^(.-)\n(.+)$')
    local key = prefix .. 'idle:' .. version
    local oldest = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
    if not oldest[1] then
      redis.call('ZREM', lru, head[1])
      if (redis.call('HGET', prefix .. 'state', 'run:' .. owner) or '0') ~= '0' then
        aside[#aside + 1] = {now, head[1]}
      end
    elseif head[4] and tonumber(oldest[2]) > tonumber(head[4]) then
      redis.call('ZADD', lru, oldest[2], head[1])
    else
      local environment
      environment, worker = string.match(oldest[1], '^([^@]+)@(.+)$')
      local slots, free = room_of(worker)
      local known = slots and redis.call('HGET', prefix .. 'envs:' .. worker, environment)
      if not known then
        redis.call('ZREM', key, oldest[1])
        worker = nil
      else
        local _, _, mb = parts_of(known)
        if not avoided(worker) and slots >= 0 and free + mb >= needed then
          redis.call('ZREM', key, oldest[1])
          drop_environment(worker, environment)
          victim = environment
          break
        end
        redis.call('ZREM', lru, head[1])
        aside[#aside + 1] = {head[2], head[1]}
        if not avoided(worker) then
          too_small[#too_small + 1] = worker
        end
        worker = nil
        if #too_small == 4 then break end
      end
    end
  end
  for _, entry in ipairs(aside) do
    redis.call('ZADD', lru, entry[1], entry[2])
  end
  if worker then
    return victim, worker
  end
  for _, candidate in ipairs(too_small) do
    local victims = clear(candidate)
    if victims then
      return victims, candidate
    end
  end
end

-- A worker with room, and what to stop there first ("" for nothing); nothing where there is none. fn: the function that has its
-- homes; without it, the worker with the most free memory comes first.
local function place(fn)
  local worker = fn and home_of(fn) or most_free()
  if worker then
    return worker, ''
  end
  local victims
  victims, worker = evict()
  return worker, victims
end
