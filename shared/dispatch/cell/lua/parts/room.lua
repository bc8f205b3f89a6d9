-- What room workers have. Who is in `room` may get environments; `free` and `ring` are made of it, to find one there.
--   room       hash  worker -> "<free slots> <free MB> <MB>"; of all of them together: "*free" -> MB, "*all" -> MB
--   free       zset  worker -> free MB; those alone that have a free slot
--   ring       zset  "<place>@<worker>", all with the same score; a place is 8 hexadecimal digits that the worker's name gives
--   envs:<w>   hash  environment -> "<function>\n<version>\n<MB>"
-- Around it: prefix.
local function room_of(worker)
  local known = redis.call('HGET', prefix .. 'room', worker)
  if known then
    local slots, free, all = string.match(known, '^(%S+) (%S+) (%S+)$')
    return tonumber(slots), tonumber(free), tonumber(all)
  end
end

local function set_room(worker, slots, free, all)
  redis.call('HSET', prefix .. 'room', worker, string.format('%.0f %.0f %.0f', slots, free, all))
  if slots > 0 then
    redis.call('ZADD', prefix .. 'free', free, worker)
  else
    redis.call('ZREM', prefix .. 'free', worker)
  end
end

-- Its room changes by so many slots and MB. A worker that gets no environments stays out.
local function change_room(worker, slots, mb)
  local has, free, all = room_of(worker)
  if has then
    set_room(worker, has + slots, free + mb, all)
    redis.call('HINCRBY', prefix .. 'room', '*free', mb)
  end
end

local function places_on_ring(worker)
  local places = {}
  for i = 0, 1 do
    local digits = redis.sha1hex(i .. worker)
    for from = 1, 25, 8 do
      places[#places + 1] = string.sub(digits, from, from + 7) .. '@' .. worker
    end
  end
  return places
end

local function withdraw(worker)
  local has, free, all = room_of(worker)
  if has then
    redis.call('HDEL', prefix .. 'room', worker)
    redis.call('ZREM', prefix .. 'free', worker)
    redis.call('ZREM', prefix .. 'ring', unpack(places_on_ring(worker)))
    redis.call('HINCRBY', prefix .. 'room', '*free', string.format('%.0f', 0 - free))
    redis.call('HINCRBY', prefix .. 'room', '*all', string.format('%.0f', 0 - all))
  end
end

local function enter(worker, slots, free, all)
  withdraw(worker)
  set_room(worker, slots, free, all)
  for _, place in ipairs(places_on_ring(worker)) do
    redis.call('ZADD', prefix .. 'ring', 0, place)
  end
  redis.call('HINCRBY', prefix .. 'room', '*free', string.format('%.0f', free))
  redis.call('HINCRBY', prefix .. 'room', '*all', string.format('%.0f', all))
end

-- What `envs:<w>` says of an environment: "<function>\n<version>", version, MB.
local function parts_of(known)
  local owner, version, mb = string.match(known, '^([^\n]+\n([^\n]+))\n(%d+)$')
  return owner, version, tonumber(mb)
end

local function add_environment(worker, environment, owner, mb)
  redis.call('HSET', prefix .. 'envs:' .. worker, environment, owner .. '\n' .. mb)
  change_room(worker, -1, -mb)
end

-- Its owner and version, nothing if it was not known.
local function drop_environment(worker, environment)
  local known = redis.call('HGET', prefix .. 'envs:' .. worker, environment)
  if not known then
    return
  end
  redis.call('HDEL', prefix .. 'envs:' .. worker, environment)
  local owner, version, mb = parts_of(known)
  change_room(worker, 1, mb)
  return owner, version
end
