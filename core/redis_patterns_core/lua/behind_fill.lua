-- Store what was loaded for those who read, unless there is something newer.
--
-- KEYS[1]  hash: what is to be saved, by key
-- KEYS[2]  string: the value for those who read
-- ARGV     key, payload, for how long it is read (milliseconds)
-- Reply    1 stored, 0 not
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then
  return 0
end
return redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3], 'NX') and 1 or 0
