-- Take a lock if it is free or already held by this token.
-- The second case makes a repeated call succeed whose first answer was lost, instead of waiting for itself.
--
-- KEYS[1]  string: the holder's token, expiring with the lease
-- ARGV     token, lease (milliseconds)
-- Reply    {acquired 0|1, milliseconds that the holder's lease has left; -1: it does not expire}
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
  return {0, redis.call('PTTL', KEYS[1])}
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {1, tonumber(ARGV[2])}
