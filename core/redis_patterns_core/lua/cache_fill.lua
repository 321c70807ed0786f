-- Store what was loaded, if the lease for which it was loaded is still there: an invalidation takes it away, and so does
-- whoever stored something else.
--
-- KEYS[1]  string: the entry
-- KEYS[2]  list: one element wakes all who wait for it, one after the other
-- ARGV     the lease's epoch, the entry, its TTL (milliseconds)
-- Reply    1 stored, 0 not
local epoch = redis.call('GETRANGE', KEYS[1], 1, 16)
local kind = redis.call('GETRANGE', KEYS[1], 0, 0)
local stored = 0
-- Its own epoch: it has been stored before, and the answer was lost.
if epoch == ARGV[1] or epoch == string.sub(ARGV[2], 2, 17) then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
  stored = 1
end
-- Where nothing is there, somebody may wait for what has been taken away.
if kind == 'W' and stored == 1 or kind == '' then
  redis.call('DEL', KEYS[2])
  redis.call('RPUSH', KEYS[2], 1)
  redis.call('PEXPIRE', KEYS[2], 1000)
end
return stored
