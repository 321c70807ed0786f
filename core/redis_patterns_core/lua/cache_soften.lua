-- Let a value be stale from now on: it may be served while somebody loads it anew, and what is being loaded is not stored.
--
-- KEYS[1]  string: the entry
-- ARGV     a new epoch, with how many milliseconds left a value is stale (0: it is removed)
-- Reply    1 there was a value, 0 not
local stale = tonumber(ARGV[2])
if redis.call('GETRANGE', KEYS[1], 0, 0) ~= 'V' then
  redis.call('UNLINK', KEYS[1])
  return 0
end
if stale == 0 then
  return redis.call('UNLINK', KEYS[1])
end
-- A cost that no value has says that it was invalidated, so that nobody makes it fresh again: see cache_touch.
redis.call('SETRANGE', KEYS[1], 1, ARGV[1] .. '0000000000000' .. '9999999')
if redis.call('PTTL', KEYS[1]) > stale then
  redis.call('PEXPIRE', KEYS[1], stale)
end
return 1
