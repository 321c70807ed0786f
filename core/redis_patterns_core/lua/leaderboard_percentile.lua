-- Count who has a better score than a member, and the members.
--
-- KEYS[1]  sorted set: the board
-- ARGV     'highest' or 'lowest', the member
-- Reply    nil when the member is not on the board, else {how many are better, members}
local call = redis.call
local score = call('ZSCORE', KEYS[1], ARGV[2])
if not score then return false end
local members, bound = call('ZCARD', KEYS[1]), '(' .. score
if ARGV[1] == 'highest' then return {call('ZCOUNT', KEYS[1], bound, '+inf'), members} end
return {call('ZCOUNT', KEYS[1], '-inf', bound), members}
