-- Keep data of members, of those that are on the board; it expires with the board.
--
-- KEYS[1]  sorted set: the board
-- KEYS[2]  hash: members' data
-- ARGV     for each member: its name, the data
-- Reply    of how many it is kept
local call, kept = redis.call, 0
for place = 1, #ARGV, 2 do
  if call('ZSCORE', KEYS[1], ARGV[place]) then
    call('HSET', KEYS[2], ARGV[place], ARGV[place + 1])
    kept = kept + 1
  end
end
local left = call('PTTL', KEYS[1])
if kept > 0 and left >= 0 and call('PTTL', KEYS[2]) < left then call('PEXPIRE', KEYS[2], left) end
return kept
