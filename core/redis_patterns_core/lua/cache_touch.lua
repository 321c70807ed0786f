-- Let a value live for so long from now.
--
-- KEYS[1]  string: the entry
-- ARGV     its TTL (milliseconds)
-- Reply    1 done, 0 there is no value
if redis.call('GETRANGE', KEYS[1], 0, 0) ~= 'V' then
  return 0
end
return redis.call('PEXPIRE', KEYS[1], ARGV[1])
