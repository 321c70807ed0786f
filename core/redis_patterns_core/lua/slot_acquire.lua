-- Take one of so many slots, if one is free or this token holds one already; else wait in line for one.
-- That the same token may ask again makes a repeated call succeed whose first answer was lost, instead of taking another.
--
-- KEYS[1]  sorted set: tokens by when their leases end (milliseconds since the epoch), expiring with the last
-- KEYS[2]  sorted set: the tokens of those who wait, by until when (milliseconds since the epoch)
-- KEYS[3]  list: one element wakes one who waits
-- ARGV     token, lease (milliseconds), how many slots there are, how long this token waits at most (milliseconds; 0 it
--          does not)
-- Reply    {acquired 0|1, milliseconds until the next lease ends, 0}
local token, lease, slots, wait = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

-- A lease that ends now has ended.
local mine = redis.call('ZSCORE', KEYS[1], token)
local live = string.format('(%.0f', now)
local again = mine and tonumber(mine) > now
local taken = redis.call('ZCOUNT', KEYS[1], live, '+inf')
if not again and taken >= slots then
  if wait > 0 then
    redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
    redis.call('ZADD', KEYS[2], now + wait, token)
    if redis.call('PTTL', KEYS[2]) < wait then redis.call('PEXPIRE', KEYS[2], wait) end
  else
    redis.call('ZREM', KEYS[2], token)
  end
  local first = redis.call('ZRANGEBYSCORE', KEYS[1], live, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  return {0, tonumber(first[2]) - now, 0}
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZADD', KEYS[1], now + lease, token)
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
redis.call('PEXPIRE', KEYS[1], tonumber(last[2]) - now)
redis.call('ZREM', KEYS[2], token)
-- Leases that ended by themselves have woken nobody: who takes a slot and sees another one wakes the next.
redis.call('DEL', KEYS[3])
if not again and taken + 1 < slots and redis.call('ZCARD', KEYS[2]) > 0 then
  redis.call('RPUSH', KEYS[3], 1)
  redis.call('PEXPIRE', KEYS[3], 60000)
end
return {1, lease, 0}
