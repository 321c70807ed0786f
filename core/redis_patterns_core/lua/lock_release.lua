-- Free a lock that this token holds; another holder's lock stays.
--
-- KEYS[1]  string: the holder's token, expiring with the lease
-- ARGV     token
-- Reply    1 freed, 0 held by nobody or by another
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
return redis.call('DEL', KEYS[1])
