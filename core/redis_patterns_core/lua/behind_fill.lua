-- Store what was loaded for those who read, unless the key was written since.
--
-- KEYS[1]  string: the value for those who read
-- KEYS[2]  string: the token of those who load it
-- ARGV     token, payload, for how long it is read (milliseconds)
-- Reply    1 stored, 0 not
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('DEL', KEYS[2])
return 1
