-- Put items at the end of a queue, all of them or none.
--
-- KEYS[1]  list: the queue
-- ARGV     how many items it may have, the items
-- Reply    how many it has then; 0 it would have too many, and has none of them
if redis.call('LLEN', KEYS[1]) + #ARGV - 1 > tonumber(ARGV[1]) then return 0 end
local length = 0
for place = 2, #ARGV do length = redis.call('RPUSH', KEYS[1], ARGV[place]) end
return length
