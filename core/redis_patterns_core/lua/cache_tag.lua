-- Give the id of a tag, a new one where it has none, and see to it that it lives as long as what is to be stored with it.
--
-- KEYS[1]  string: the tag's id
-- ARGV     a new id, how long it has to live at least (milliseconds)
-- Reply    the id
local id = redis.call('GET', KEYS[1])
if not id then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  return ARGV[1]
end
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return id
