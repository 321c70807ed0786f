-- Note that a value is being written to where it belongs: until that is over nobody stores anything here.
--
-- While it is, the entry is: X, a name of its own (16 characters), how many write (13 digits), - or, where what they
-- wrote may be in any order, c.
--
-- KEYS[1]  string: the entry
-- KEYS[2]  list: one element wakes all who wait for it, one after the other
-- ARGV     a new name, for how long at most (milliseconds)
-- Reply    the name under which it is being written
local kind = redis.call('GETRANGE', KEYS[1], 0, 0)
if kind == 'X' then
  local writers = tonumber(redis.call('GETRANGE', KEYS[1], 17, 29))
  redis.call('SETRANGE', KEYS[1], 17, string.format('%013.0f', writers + 1) .. 'c')
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return redis.call('GETRANGE', KEYS[1], 1, 16)
end
if kind == 'W' then
  redis.call('DEL', KEYS[2])
  redis.call('RPUSH', KEYS[2], 1)
  redis.call('PEXPIRE', KEYS[2], 1000)
end
redis.call('SET', KEYS[1], 'X' .. ARGV[1] .. '0000000000001-', 'PX', ARGV[2])
return ARGV[1]
