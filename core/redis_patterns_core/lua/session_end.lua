-- End a session; for its fields see session_use.
--
-- KEYS[1]  hash: the session
-- KEYS[2]  sorted set: its user's sessions, by when they end (milliseconds since the epoch)
-- ARGV     the session's member in KEYS[2], the hash of its secret where it is left for another one or '', for how long
--          that is remembered (milliseconds)
-- Reply    {0} there is none, {1, its fields} as they were
local member, left = ARGV[1], ARGV[2]
local found = redis.call('HMGET', KEYS[1], 'c', 'u', 'm')
if not found[1] then
  -- Who asks again, because no answer came, has left it already.
  if left ~= '' and found[3] == left then return {1, redis.call('HGETALL', KEYS[1])} end
  return {0}
end
local fields = redis.call('HGETALL', KEYS[1])
if left == '' then
  redis.call('UNLINK', KEYS[1])
else
  redis.call('HDEL', KEYS[1], 'c', 'k', 'p', 's')
  redis.call('HSET', KEYS[1], 'm', left)
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
if redis.call('ZREM', KEYS[2], member) == 0 and found[2] ~= '' then return {0} end
return {1, fields}
