-- Prolong the lease of a slot that this token holds; never takes one again that has ended.
--
-- KEYS[1]  sorted set: tokens by when their leases end (milliseconds since the epoch), expiring with the last
-- ARGV     token, lease from now (milliseconds)
-- Reply    1 prolonged, 0 the token holds none
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local mine = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not mine or tonumber(mine) <= now then
  return 0
end
redis.call('ZADD', KEYS[1], string.format('%.0f', now + tonumber(ARGV[2])), ARGV[1])
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', tonumber(last[2]) - now))
return 1
