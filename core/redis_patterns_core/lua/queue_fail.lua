-- Keep an item that could not be handled; the oldest ones make room.
--
-- A record is when it failed (13 digits, milliseconds since the epoch), the length of the error (6 digits), the error, the
-- item.
--
-- KEYS[1]  list: the records
-- ARGV     how many are kept, then for each item: what was wrong with it, the item
-- Reply    how many there are
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for place = 2, #ARGV, 2 do
  local head = string.format('%013.0f%06d', now, #ARGV[place])
  redis.call('RPUSH', KEYS[1], head .. ARGV[place] .. ARGV[place + 1])
end
redis.call('LTRIM', KEYS[1], -tonumber(ARGV[1]), -1)
return redis.call('LLEN', KEYS[1])
