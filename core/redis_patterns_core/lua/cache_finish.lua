-- Store a value that has been written to where it belongs, if nobody else was writing at the same time; else nothing is
-- stored, as it is not known whose came last.
--
-- KEYS[1]  string: the entry
-- ARGV     the name under which it was written, the entry or '' where nothing is to be stored, its TTL (milliseconds)
-- Reply    1 stored, 0 not
if redis.call('GETRANGE', KEYS[1], 0, 0) ~= 'X' then
  -- Whatever is there may be older.
  redis.call('UNLINK', KEYS[1])
  return 0
end
if redis.call('GETRANGE', KEYS[1], 1, 16) ~= ARGV[1] then
  redis.call('SETRANGE', KEYS[1], 30, 'c')
  return 0
end
local writers = tonumber(redis.call('GETRANGE', KEYS[1], 17, 29))
if writers > 1 then
  redis.call('SETRANGE', KEYS[1], 17, string.format('%013.0f', writers - 1))
  return 0
end
if ARGV[2] == '' or redis.call('GETRANGE', KEYS[1], 30, 30) == 'c' then
  redis.call('UNLINK', KEYS[1])
  return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
