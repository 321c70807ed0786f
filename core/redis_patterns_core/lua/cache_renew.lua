-- Keep an entry for who loads it; never for longer than it may be filled.
--
-- KEYS[1]  string: the entry
-- ARGV     the lease's epoch, for how long (milliseconds)
-- Reply    1 kept, 0 it is not there any more, or was given up
local kind = redis.call('GETRANGE', KEYS[1], 0, 0)
if redis.call('GETRANGE', KEYS[1], 1, 16) ~= ARGV[1] or kind == 'F' then
  return 0
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('SETRANGE', KEYS[1], 17, string.format('%013.0f', now + ARGV[2]))
return 1
