-- Give up loading: those who wait are told, and a value that is there is not loaded again for a while.
--
-- KEYS[1]  string: the entry
-- KEYS[2]  list: one element wakes all who wait for it, one after the other
-- KEYS[3]  string: who took over a lease or refreshes a value, see cache_acquire
-- ARGV     the lease's epoch, or the new one with which it was asked for, where the answer is not known; for how long a
--          value is not loaded again (milliseconds)
-- Reply    1 given up, 0 it was somebody else's
local epoch = redis.call('GETRANGE', KEYS[1], 1, 16)
if epoch ~= ARGV[1] and redis.call('GET', KEYS[3]) ~= ARGV[1] .. epoch then
  return 0
end
local kind = redis.call('GETRANGE', KEYS[1], 0, 0)
if kind == 'V' then
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  redis.call('SETRANGE', KEYS[1], 17, string.format('%013.0f', now + ARGV[2]))
  return 1
end
redis.call('SETRANGE', KEYS[1], 0, 'F')
redis.call('PEXPIRE', KEYS[1], 1000)
if kind == 'W' then
  redis.call('DEL', KEYS[2])
  redis.call('RPUSH', KEYS[2], 1)
  redis.call('PEXPIRE', KEYS[2], 1000)
end
return 1
