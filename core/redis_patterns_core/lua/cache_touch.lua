-- Let a value live for so long from now; one that was invalidated softly ends when it would.
--
-- KEYS[1]  string: the entry
-- ARGV     its TTL (milliseconds)
-- Reply    1 done, 0 there is no value, or one that was invalidated, whose cost cache_soften has set to 9999999
if redis.call('GETRANGE', KEYS[1], 0, 0) ~= 'V' or redis.call('GETRANGE', KEYS[1], 30, 36) == '9999999' then
  return 0
end
return redis.call('PEXPIRE', KEYS[1], ARGV[1])
