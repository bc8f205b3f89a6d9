-- Every provisioned environment of the cell.
--
-- KEYS  1 provisioned   set "<function>\n<version>" that have some
-- ARGV  1 key prefix
-- Reply {"<function>\n<version>", "<environment>@<worker>", "s", "r" or "x", ...}: three for each
local seen = {}
for _, owner in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  local known = redis.call('HGETALL', ARGV[1] .. 'provisioned:' .. string.match(owner, '\n(.+)$'))
  if not known[1] then
    redis.call('SREM', KEYS[1], owner)
  end
  for i = 1, #known, 2 do
    seen[#seen + 1], seen[#seen + 2], seen[#seen + 3] = owner, known[i], known[i + 1]
  end
end
return seen
