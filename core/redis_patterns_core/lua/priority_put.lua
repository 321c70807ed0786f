-- Put items into a queue with priorities, all of them or none.
--
-- A member is its number (16 digits) and the item; its score is the priority times 2^43 plus the number, so that a lower
-- priority comes first, and of one priority what came first.
--
-- KEYS[1]  sorted set: the queue
-- KEYS[2]  string: how many items it has had
-- ARGV     how many items it may have (0 any number), then for each item: its priority, the item
-- Reply    how many it has then; 0 it would have too many, and has none of them
local most = tonumber(ARGV[1])
local length = redis.call('ZCARD', KEYS[1]) + (#ARGV - 1) / 2
if most > 0 and length > most then return 0 end
for place = 2, #ARGV, 2 do
  local number = redis.call('INCR', KEYS[2])
  local score = string.format('%.0f', ARGV[place] * 8796093022208 + number)
  redis.call('ZADD', KEYS[1], score, string.format('%016.0f', number) .. ARGV[place + 1])
end
return length
