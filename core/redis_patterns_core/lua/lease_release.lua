-- End a lease that this member holds, or give up waiting for one; the others' stay. Who is the first in line then is
-- woken, to see whether it is its turn.
--
-- KEYS[1]  sorted set: the members that hold it, by when their leases end (milliseconds since the epoch)
-- KEYS[2]  sorted set: the members in line, by arrival
-- KEYS[3]  sorted set: the same by until when they are taken to be there
-- KEYS[4]  list: one element wakes the first in line
-- KEYS[5]  list: one element wakes who stands behind this member
-- ARGV     member
-- Reply    1 ended, 0 it held nothing: its lease may have ended before
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ends = redis.call('ZSCORE', KEYS[1], ARGV[1])
if ends then redis.call('ZREM', KEYS[1], ARGV[1]) end
local in_line = redis.call('ZREM', KEYS[2], ARGV[1]) == 1
redis.call('ZREM', KEYS[3], ARGV[1])
if redis.call('ZCARD', KEYS[2]) == 0 then
  redis.call('DEL', KEYS[4])
else
  for _, key in ipairs({ends and KEYS[4] or false, in_line and KEYS[5] or false}) do
    if key then
      redis.call('DEL', key)
      redis.call('RPUSH', key, 1)
      redis.call('PEXPIRE', key, 15000)
    end
  end
end
return ends and tonumber(ends) > now and 1 or 0
