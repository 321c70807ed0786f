-- Read members' scores and ranks, all at one moment.
--
-- KEYS[1]  sorted set: the board
-- KEYS[2]  sorted set: its distinct scores, where ranks are dense
-- KEYS[3]  sorted set: its members behind 16 digits, where who came first is ahead
-- KEYS[4]  hash: the digits by member
-- ARGV     'highest' or 'lowest'; 'ordinal', 'competition' or 'dense'; 1 where who came first is ahead; the members
-- Reply    for each, in one list: its score or nil, its rank or 0
local call = redis.call
local highest, ties, first_come = ARGV[1] == 'highest', ARGV[2], ARGV[3] == '1'
local reply = {}
for place = 4, #ARGV do
  local member, rank = ARGV[place], 0
  local score = call('ZSCORE', KEYS[1], member)
  if score then
    local key, name = KEYS[1], member
    if ties == 'ordinal' then
      if first_come then key, name = KEYS[3], call('HGET', KEYS[4], member) .. member end
      rank = (highest and call('ZREVRANK', key, name) or call('ZRANK', key, name)) + 1
    else
      if ties == 'dense' then key = KEYS[2] end
      local bound = '(' .. score
      rank = (highest and call('ZCOUNT', key, bound, '+inf') or call('ZCOUNT', key, '-inf', bound)) + 1
    end
  end
  reply[#reply + 1] = score
  reply[#reply + 1] = rank
end
return reply
