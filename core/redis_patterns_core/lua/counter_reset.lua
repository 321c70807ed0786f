-- Set a counter back to 0, once for each id, and tell what it was.
--
-- KEYS[1]  string: the counter
-- KEYS[2]  string: what this reset has found
-- ARGV[1]  for how long KEYS[2] is kept (milliseconds)
-- Reply    what it was, as text: a number would lose its digits beyond 2^53
local found = redis.call('GET', KEYS[2])
if found then return found end
found = redis.call('GET', KEYS[1]) or '0'
redis.call('SET', KEYS[2], found, 'PX', ARGV[1])
redis.call('DEL', KEYS[1])
return found
