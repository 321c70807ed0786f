-- Add to a member's score, on a board whose ranks are read from itself alone.
--
-- KEYS[1]  sorted set: the board
-- ARGV     what to add, the member
-- Reply    the new score, as text; or, with nothing written: -2 the sum would not be exact, -3 it would be no number
local call, abs, huge = redis.call, math.abs, math.huge
local old, by = call('ZSCORE', KEYS[1], ARGV[2]) or '0', ARGV[1]
local a = old == 'inf' and huge or old == '-inf' and -huge or old + 0.0
local b = by == 'inf' and huge or by == '-inf' and -huge or by + 0.0
local sum = a + b
if sum ~= sum then return -3 end
-- From 2^53 on a sum is taken only where nothing is lost: what rounding took away is found as Knuth's TwoSum does it.
if abs(sum) >= 9007199254740992 and abs(a) ~= huge and abs(b) ~= huge then
  local part = sum - a
  if (a - (sum - part)) + (b - part) ~= 0 then return -2 end
end
return call('ZINCRBY', KEYS[1], by, ARGV[2])
