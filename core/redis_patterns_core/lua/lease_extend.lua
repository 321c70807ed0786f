-- Prolong a lease that this member holds; never takes it again once it has ended.
--
-- KEYS[1]  sorted set: the members that hold it, by when their leases end (milliseconds since the epoch)
-- KEYS[2]  string: the last fence, kept for a day after the last lease; only where there are any
-- ARGV     member, lease from now (milliseconds)
-- Reply    1 prolonged, 0 it holds nothing
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ends = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not ends or tonumber(ends) <= now then
  return 0
end
redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[2]), ARGV[1])
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2]
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', last - now))
if KEYS[2] then redis.call('PEXPIRE', KEYS[2], string.format('%.0f', last - now + 86400000)) end
return 1
