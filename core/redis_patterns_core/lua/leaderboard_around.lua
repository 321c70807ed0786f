-- Read the rows around a member, the member among them, in one consistent view.
-- The window is moved, not cut, at both ends: as many rows as asked for come back wherever the board has them.
--
-- KEYS[1]  sorted set: the board
-- ARGV     member, rows wanted
-- Reply    nil when the member is not on the board, else {0-based rank of the first row, {member, score, ...}}
local rank = redis.call('ZREVRANK', KEYS[1], ARGV[1])
if not rank then
  return false
end
local rows = tonumber(ARGV[2])
local last_start = math.max(0, redis.call('ZCARD', KEYS[1]) - rows)
local start = math.min(math.max(0, rank - math.floor(rows / 2)), last_start)
return {start, redis.call('ZREVRANGE', KEYS[1], start, start + rows - 1, 'WITHSCORES')}
