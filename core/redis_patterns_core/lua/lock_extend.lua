-- Prolong a lock that this token holds; never takes it again once it is gone.
--
-- KEYS[1]  string: the holder's token, expiring with the lease
-- KEYS[2]  string: the last fence, kept for a day after the lease
-- ARGV     token, lease from now (milliseconds)
-- Reply    1 prolonged, 0 held by nobody or by another
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('PEXPIRE', KEYS[2], string.format('%.0f', ARGV[2] + 86400000))
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
