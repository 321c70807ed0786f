-- Take one of so many slots, if one is free or this token holds one already.
-- The second case makes a repeated call succeed whose first answer was lost, instead of taking another.
--
-- KEYS[1]  sorted set: tokens by when their leases end (milliseconds since the epoch), expiring with the last
-- ARGV     token, lease (milliseconds), how many slots there are
-- Reply    {acquired 0|1, milliseconds until the next lease ends}
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local lease = tonumber(ARGV[2])

-- A lease that ends now has ended. Refused, nothing is written: what has ended is only not counted.
local mine = redis.call('ZSCORE', KEYS[1], ARGV[1])
local live = string.format('(%.0f', now)
if not (mine and tonumber(mine) > now) and redis.call('ZCOUNT', KEYS[1], live, '+inf') >= tonumber(ARGV[3]) then
  local first = redis.call('ZRANGEBYSCORE', KEYS[1], live, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  return {0, tonumber(first[2]) - now}
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
redis.call('ZADD', KEYS[1], string.format('%.0f', now + lease), ARGV[1])
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', tonumber(last[2]) - now))
return {1, lease}
