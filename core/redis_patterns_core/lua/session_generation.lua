-- Tell what a login must still find when it is done; it is gone when all sessions of its user were ended meanwhile.
--
-- KEYS[1]  string: a random text, for as long as a login may take
-- ARGV     another one, for how long it is kept (milliseconds)
-- Reply    the text
local generation = redis.call('GET', KEYS[1])
if not generation then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  return ARGV[1]
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return generation
