-- Free a lock that this token holds, or give up waiting for it; another holder's lock stays. Where it is free then, one of
-- those who wait is woken: also where the token holds nothing, as it may have taken a wake-up that it has no use for.
--
-- KEYS[1]  string: the holder's token, expiring with the lease
-- KEYS[2]  sorted set: the tokens of those who wait, by until when
-- KEYS[3]  list: one element wakes one who waits
-- ARGV     token
-- Reply    1 freed, 0 held by nobody or by another
local holder = redis.call('GET', KEYS[1])
local held = holder == ARGV[1]
if held then
  redis.call('DEL', KEYS[1])
end
redis.call('ZREM', KEYS[2], ARGV[1])
if held or not holder then
  -- Never more than one, whoever frees it how often, and none where nobody waits.
  redis.call('DEL', KEYS[3])
  if redis.call('ZCARD', KEYS[2]) > 0 then
    redis.call('RPUSH', KEYS[3], 1)
    redis.call('PEXPIRE', KEYS[3], 60000)
  end
end
return held and 1 or 0
