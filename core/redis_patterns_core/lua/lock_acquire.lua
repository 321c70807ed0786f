-- Take a lock if it is free or already held by this token; else say for how long it is held, and wait in line for it.
-- That the same token may take it again makes a repeated call succeed whose first answer was lost.
--
-- KEYS[1]  string: the holder's token, expiring with the lease
-- KEYS[2]  string: the last fence, kept for a day after the lease
-- KEYS[3]  sorted set: the tokens of those who wait, by until when (milliseconds since the epoch)
-- KEYS[4]  list: one element wakes one who waits
-- ARGV     token, lease (milliseconds), how long this token waits at most (milliseconds; 0 it does not)
-- Reply    {acquired 0|1, milliseconds that the lease has left (-1: it does not expire), fence or 0}
local token, lease, wait = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1e6 + time[2]

local holder = redis.call('GET', KEYS[1])
if holder and holder ~= token then
  if wait > 0 then
    local moment = math.floor(now / 1000)
    redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', moment)
    redis.call('ZADD', KEYS[3], moment + wait, token)
    if redis.call('PTTL', KEYS[3]) < wait then redis.call('PEXPIRE', KEYS[3], wait) end
  else
    redis.call('ZREM', KEYS[3], token)
  end
  return {0, redis.call('PTTL', KEYS[1]), 0}
end

-- The time in microseconds, or one more than the last: it grows even where the last was lost, unless the clock stepped
-- back too.
local last = tonumber(redis.call('GET', KEYS[2])) or 0
local fence = holder and last > 0 and last or math.max(last + 1, now)
redis.call('SET', KEYS[2], string.format('%.0f', fence), 'PX', lease + 86400000)
redis.call('SET', KEYS[1], token, 'PX', lease)
redis.call('ZREM', KEYS[3], token)
-- A wake-up that nobody took is for nobody now.
redis.call('DEL', KEYS[4])
return {1, lease, fence}
